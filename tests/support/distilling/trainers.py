"""Trainers of phase 1 on made-up text, and what their tests read of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback

from bistil_ds.distillation.arguments import DistillationArguments, LossArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.student import build_student

LAYERS, LENGTH = 4, 16
LANGUAGES = tuple(tiny.SYLLABLES)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny.unigram_tokenizer()


@pytest.fixture(scope="module")
def teacher_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    tiny.xlmr(len(tokenizer), layers=LAYERS).save_pretrained(folder)
    return folder


def chunks(tokenizer: PreTrainedTokenizerFast, language: str, rows: int, seed: int, packed: bool = True) -> Dataset:
    """Return token ids of made-up text, all `LENGTH` long if `packed`, else of unequal lengths."""
    ids = [tokenizer(line)["input_ids"] for line in tiny.text_lines(language, 4 * rows, seed)]
    flat = [one for line in ids for one in line]
    cut = (
        [flat[i * LENGTH : (i + 1) * LENGTH] for i in range(rows)] if packed else [line[:LENGTH] for line in ids[:rows]]
    )
    return Dataset.from_dict({"input_ids": cut})


Make = Callable[..., DistillationTrainer]


@pytest.fixture
def make(tokenizer: PreTrainedTokenizerFast, teacher_folder: Path, tmp_path: Path) -> Make:
    """Return a function that makes a trainer on fresh copies of one teacher and of the student built from it."""

    def made(
        losses: LossArguments | None = None, packed: bool = True, keep: dict[str, Any] | None = None, **flags: Any
    ) -> DistillationTrainer:
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "max_steps": 8,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "eval_steps": 4,
            "report_to": "none",
            "disable_tqdm": True,
        }
        teacher = tiny.xlmr(len(tokenizer), layers=LAYERS)
        student = build_student(teacher, progress=False)
        trainer = DistillationTrainer(
            student.student,
            teacher,
            DistillationArguments(**{**settings, **flags}),
            layer_map=student.layer_map,
            train_dataset={one: chunks(tokenizer, one, 40, 0, packed) for one in LANGUAGES},
            eval_dataset={one: chunks(tokenizer, one, 10, 1, packed) for one in LANGUAGES},
            losses=losses,
            processing_class=tokenizer,
            **(keep or {}),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return made


def logged(trainer: DistillationTrainer, key: str) -> list[float]:
    return [row[key] for row in trainer.state.log_history if key in row]


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
