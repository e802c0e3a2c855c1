"""Test that phase 1 has the same losses on a CUDA device with and without graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from distilling.trainers import LANGUAGES, Make, logged, make, teacher_folder, tokenizer, weights
from random_sfts import random_sft

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.runs.record import RunRecord

__all__ = ["make", "teacher_folder", "tokenizer"]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
QUIET: dict[str, Any] = {
    "eval_strategy": "no",
    "eval_on_start": False,
    "load_best_model_at_end": False,
    "save_strategy": "no",
    "max_steps": 20,
}
REPLAYED = {"replayed": ["gradients", "update"], "failed": {}}


def same_training(plain: DistillationTrainer, graphed: DistillationTrainer, tolerance: float) -> None:
    plain.train()
    graphed.train()
    assert graphed.static_step is not None
    assert graphed.static_step.as_record() == REPLAYED
    for key in ("loss", "grad_norm", *(f"{one}/hidden_2" for one in LANGUAGES)):
        assert logged(graphed, key) == pytest.approx(logged(plain, key), rel=tolerance)
    for name, weight in weights(plain.model).items():
        torch.testing.assert_close(graphed.model.state_dict()[name], weight, rtol=0, atol=5e-3)


@pytest.mark.parametrize("kernels", ["torch", "triton"])
@pytest.mark.parametrize(("flags", "tolerance"), [({"teacher_dtype": "float32"}, 1e-3), ({"bf16": True}, 3e-2)])
def test_captured_steps_have_the_losses_of_plain_steps(
    make: Make, teacher_folder: Path, kernels: str, flags: dict[str, Any], tolerance: float
) -> None:
    sfts = {one: random_sft(make().teacher, seed) for seed, one in enumerate(LANGUAGES)}
    keep = {"teacher_folder": teacher_folder, "language_sfts": sfts}
    pair = [
        make(keep=keep, cuda_graphs=on, kernels=kernels, max_grad_norm=0.1, **flags, **QUIET) for on in (False, True)
    ]
    same_training(*pair, tolerance)


@pytest.mark.parametrize("packed", [True, False])
def test_scheduled_weights_and_padding_are_captured(make: Make, packed: bool) -> None:
    losses = LossArguments(hidden_weight="2:0", attention_weight="0:5", relation_weight="1")
    flags = {"teacher_dtype": "float32", "packed": packed, **QUIET}
    same_training(make(losses, **flags), make(losses, cuda_graphs=True, **flags), 1e-3)


def test_validation_and_checkpoints_between_replays_change_nothing(make: Make, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"max_steps": 12, "eval_steps": 3, "save_steps": 3, "teacher_dtype": "float32"}
    RunRecord(tmp_path / "run", arguments={})
    plain, graphed = make(output_dir=str(tmp_path / "plain"), **flags), make(cuda_graphs=True, **flags)
    plain.train()
    graphed.train()
    assert logged(graphed, "eval_loss") == pytest.approx(logged(plain, "eval_loss"), rel=1e-3)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["results"]["cuda_graphs"] == REPLAYED


def test_the_loader_may_pin_memory_while_a_step_is_recorded(make: Make) -> None:
    trainer = make(cuda_graphs=True, dataloader_num_workers=1, **QUIET)
    trainer.train()
    assert trainer.static_step is not None
    assert trainer.static_step.as_record() == REPLAYED
