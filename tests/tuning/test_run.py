"""Test that the record of a stage names the step whose weights are kept, and its metrics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerState

from bistil_ds.runs.record import RunRecord
from bistil_ds.tuning.run import KeepResult


@pytest.mark.parametrize(
    ("best", "loads_best", "step", "metrics"),
    [
        ("run/stage-1-dense/checkpoint-200", True, 200, {"eval_f1": 0.7}),  # step 100 was better, but saved nothing
        ("run/stage-1-dense/checkpoint-100", False, 400, {"eval_f1": 0.6}),
        (None, True, 400, {"eval_f1": 0.6}),
        (None, False, 450, {}),  # the last step was not validated
    ],
)
def test_the_record_names_what_is_kept(
    tmp_path: Path, best: str | None, loads_best: bool, step: int, metrics: dict[str, float]
) -> None:
    RunRecord(tmp_path, arguments={})
    rows = [{"step": at, "eval_f1": f1} for at, f1 in ((0, 0.99), (100, 0.9), (200, 0.7), (400, 0.6))]
    state = TrainerState(log_history=rows, global_step=max(step, 400), best_model_checkpoint=best)
    args: Any = SimpleNamespace(load_best_model_at_end=loads_best)
    KeepResult(tmp_path / "stage-1-dense", "f1").on_train_end(args, state, None)
    (stage,) = RunRecord.open(tmp_path).content["results"]["stages"]
    assert (stage["kept_step"], stage["metrics"]) == (step, metrics)
