"""Test by training that the flags which may change in a resumed run leave the bits alone, and the others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.student import build_student
from bistil_ds.training import speed
from bistil_ds.training.flags.inherited import DECIDES, MAY_CHANGE, by_name

Weights = dict[str, torch.Tensor]
LEAVE: list[dict[str, Any]] = [
    {"activation_checkpointing": True},
    {"gradient_checkpointing": True},
    {"torch_empty_cache_steps": 1},
    {"full_determinism": True},
    {"include_num_input_tokens_seen": "all"},
    {"skip_memory_metrics": False},
    {"save_strategy": "best"},
    {"logging_first_step": True},
    {"logging_strategy": "epoch"},
    {"eval_delay": 1},
    {"save_on_each_node": True},
    {"dataloader_num_workers": 1},
]
CHANGE: list[dict[str, Any]] = [
    {"neftune_noise_alpha": 5.0},
    {"max_grad_norm": 0.001},
    {"optim": "adafactor"},
    {"lr_scheduler_type": "greedy"},
    {"lr_scheduler_type": "reduce_lr_on_plateau"},
    {"bf16": True},
    {"data_seed": 5},
    {"weight_decay": 0.5},
    {"adam_epsilon": 1.0},
    {"warmup_steps": 1},
]


def trained(folder: Path, **flags: Any) -> Weights:
    """Train two steps on random tokens and return the weights."""
    teacher = tiny.xlmr(60, layers=2, width=16)
    built = build_student(teacher, progress=False)
    ids = torch.randint(4, 60, (40, 16), generator=torch.Generator().manual_seed(0)).tolist()
    parts = {"aa": Dataset.from_dict({"input_ids": ids[:20]}), "bb": Dataset.from_dict({"input_ids": ids[20:]})}
    settings: dict[str, Any] = {"max_steps": 2, "per_device_train_batch_size": 2, "eval_steps": 1, "report_to": "none"}
    settings |= {"output_dir": str(folder), "disable_tqdm": True, "eval_on_start": False, **flags}
    args = DistillationArguments(**settings)
    trainer = DistillationTrainer(
        built.student, teacher, args, layer_map=built.layer_map, train_dataset=parts, eval_dataset=parts
    )
    trainer.train()
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return trained(tmp_path_factory.mktemp("plain"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "matmul_rate", lambda *of: 1e9)  # takes long and is not tested here


@pytest.mark.slow
@pytest.mark.parametrize("flags", [*LEAVE, *CHANGE], ids=str)
def test_a_flag_does_what_its_table_says(flags: dict[str, Any], plain: Weights, tmp_path: Path) -> None:
    (name,) = flags
    assert (name in by_name(MAY_CHANGE)) == (flags in LEAVE)
    assert (name in by_name(DECIDES)) == (flags in CHANGE)
    found = trained(tmp_path, **flags)
    assert all(torch.equal(found[key], plain[key]) for key in plain) == (flags in LEAVE)
