"""How long a stage is when nobody says."""

from __future__ import annotations

import argparse

import pytest

from bistil_ds.task_checks import cap_steps, fill_in
from bistil_ds.tasks import find_task

OPEN = {"learning_rate": None, "full_epochs": None, "sparse_epochs": None, "full_max_steps": None}
OPEN |= {"sparse_max_steps": None}


def settled(task: str, rows: int, **given: float) -> argparse.Namespace:
    ns = argparse.Namespace(**{**OPEN, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, **given})
    fill_in(ns, find_task(task))
    cap_steps(ns, find_task(task), rows)
    return ns


@pytest.mark.parametrize(("rows", "steps"), [(8000, None), (8001, 100_000)])  # 1,000 and 1,001 steps an epoch
def test_language_modelling_is_100_epochs_or_100_000_steps_whichever_is_fewer(rows: int, steps: int | None) -> None:
    ns = settled("mlm", rows)
    assert (ns.full_epochs, ns.sparse_epochs) == (100, 100)
    assert (ns.full_max_steps, ns.sparse_max_steps) == (steps, steps)


def test_ranks_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert settled("mlm", 16_000).full_max_steps is None
    assert settled("mlm", 16_001).full_max_steps == 100_000


def test_what_was_asked_for_stays() -> None:
    ns = settled("mlm", 10**6, full_epochs=100, sparse_max_steps=200_000)
    assert (ns.full_max_steps, ns.sparse_max_steps) == (None, 200_000)
    assert settled("ner", 10**9).full_max_steps is None
