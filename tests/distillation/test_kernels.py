"""Test that phase 1 trains and validates with what `kernels` chose, and says so in run.json and TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bistil_kernels
import pytest
import tiny
import torch
from bistil_kernels.runtime import choice, dispatch
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers.trainer_callback import PrinterCallback

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.runs.record import RunRecord
from bistil_ds.student import build_student


def trainer(folder: Path, **flags: Any) -> DistillationTrainer:
    teacher = tiny.xlmr(60, layers=2, width=16)
    built = build_student(teacher, progress=False)
    args = DistillationArguments(str(folder), max_steps=1, disable_tqdm=True, save_strategy="no", **flags)
    rows = {"aa": Dataset.from_dict({"input_ids": torch.randint(4, 60, (16, 8)).tolist()})}
    made = DistillationTrainer(
        built.student, teacher, args, layer_map=built.layer_map, train_dataset=rows, eval_dataset=rows
    )
    made.remove_callback(PrinterCallback)
    return made


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels take the CPU's tensors, and let their modules be such that they cannot be imported."""
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    monkeypatch.setattr(dispatch, "on_triton", lambda tensors: True)
    for name in ("hidden_state", "attention_map"):
        monkeypatch.delattr(getattr(bistil_kernels, name), "fused", raising=False)
        monkeypatch.setitem(sys.modules, f"bistil_kernels.{name}.fused", None)


def test_torch_trains_where_no_kernel_can_be_imported(
    broken: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    RunRecord(tmp_path, arguments={})
    made = trainer(tmp_path, report_to="tensorboard", kernels="torch", load_best_model_at_end=False)
    assert made.evaluate()["eval_loss"] > 0
    made.train()
    assert choice.chosen() == "auto", "the choice holds for this trainer only"
    found = json.loads((tmp_path / "run.json").read_text())["results"]["kernels"]
    assert found == {"choice": "torch", "device": "cpu", "checked": None, "failed": {}}
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert events.Tensors("kernels/text_summary")[0].tensor_proto.string_val[0].decode() == "torch on cpu"
    with pytest.raises(ImportError):  # so the kernels would have been taken
        trainer(tmp_path, report_to="none", load_best_model_at_end=False).evaluate()


def test_a_trainer_without_a_record_trains_and_writes_none(tmp_path: Path) -> None:
    trainer(tmp_path, report_to="none", eval_strategy="no", load_best_model_at_end=False).train()
    assert not (tmp_path / "run.json").exists()
