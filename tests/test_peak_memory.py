"""Measuring memory, apart from the rest so that the measured process starts quickly."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bistil_ds.benchmarking.memory import peak_in_own_process


def allocate(mib: int) -> Callable[[], object]:
    return lambda: torch.ones(mib << 18)


def test_peak_memory_is_that_of_the_measured_step_alone() -> None:
    ballast = torch.ones(200 << 18)  # held here, and no part of the other process
    peak = peak_in_own_process(allocate, 64)
    assert 60 << 20 < peak.peak - peak.baseline < 100 << 20
    assert ballast.sum() > 0
