"""Test the measurement of memory, in a module of its own so that the measured process starts quickly."""

from __future__ import annotations

import pytest
import torch
from stand_ins.memory_use import allocate

from bistil_ds.benchmarking.harness.peak_memory import Peak, peak_in_own_process, peak_of


def test_peak_memory_is_that_of_the_measured_step_alone() -> None:
    ballast = torch.ones(200 << 18)  # this process holds it, so the measured process must not count it
    peak = peak_in_own_process(allocate, 64)
    assert 60 << 20 < peak.peak - peak.baseline < 100 << 20
    assert ballast.sum() > 0


def test_what_building_needed_for_a_moment_is_not_the_peak_of_the_steps() -> None:
    peak = peak_in_own_process(allocate, 64, 400)
    assert 60 << 20 < peak.peak - peak.baseline < 100 << 20


def test_what_was_built_is_the_difference_to_the_libraries() -> None:
    peak = peak_in_own_process(allocate, 64, 0, 128)
    assert 120 << 20 < peak.baseline - peak.empty < 160 << 20
    assert peak.build_seconds > 0


def test_the_memory_of_the_gpu_that_was_named_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def answer(device: object) -> int:
        asked.append(device)
        return 7

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    counts = (
        "synchronize",
        "reset_peak_memory_stats",
        "memory_allocated",
        "max_memory_allocated",
        "max_memory_reserved",
    )
    for name in counts:
        monkeypatch.setattr(torch.cuda, name, answer)
    peak = peak_of(lambda: lambda: None, 1, "cuda:1")
    assert peak == Peak(0, 7, 7, peak.build_seconds, 7)
    assert asked == ["cuda:1"] * len(counts)
