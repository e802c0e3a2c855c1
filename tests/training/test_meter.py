"""Test that the meter returns means by language since it was last drained, over all ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

from bistil_ds.training.meter import TermMeter


def scalars(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


def test_each_languages_terms_are_averaged() -> None:
    meter = TermMeter()
    meter.add("en", scalars(loss=1.0, hidden=4.0))
    meter.add("tr", scalars(loss=10.0, hidden=2.0))
    meter.add("en", scalars(loss=2.0, hidden=6.0))
    assert meter.drain() == {"en": {"loss": 1.5, "hidden": 5.0}, "tr": {"loss": 10.0, "hidden": 2.0}}


def test_batches_count_by_their_weight() -> None:
    meter = TermMeter()
    meter.add("en", scalars(loss=1.0), weight=8)
    meter.add("en", scalars(loss=4.0), weight=4)
    meter.add("en", scalars(loss=100.0), weight=0)
    assert meter.drain() == {"en": {"loss": 2.0}}


def test_draining_empties_it() -> None:
    meter = TermMeter()
    meter.add("en", scalars(loss=1.0))
    meter.drain()
    assert meter.drain() == {}
    meter.add("tr", scalars(loss=3.0))
    assert meter.drain() == {"tr": {"loss": 3.0}}


def test_small_terms_are_not_lost_among_many() -> None:
    meter = TermMeter()
    meter.add("en", scalars(loss=1e8))
    for _ in range(100):
        meter.add("en", scalars(loss=1.0))
    assert meter.drain()["en"]["loss"] * 101 == pytest.approx(1e8 + 100, abs=1e-3)


def _two_ranks(rank: int, store: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    meter = TermMeter()
    meter.add("tr", scalars(loss=2.0 + rank), weight=2 * (1 - rank))  # rank 1 repeats a batch, which has weight 0
    meter.add("en", scalars(loss=1.0 + 4 * rank))
    assert meter.drain() == {"tr": {"loss": 2.0}, "en": {"loss": 3.0}}
    torch.distributed.destroy_process_group()


def test_ranks_are_averaged_together(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_two_ranks, (str(tmp_path / "store"),), nprocs=2)
