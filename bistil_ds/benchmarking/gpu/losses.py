"""Part (c): train phase 1 with PyTorch's losses and with the kernels', and compare the losses of every step.

Models are made from configurations and token ids are drawn, so nothing is downloaded. B sequences, T tokens.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import BertTokenizer, PreTrainedModel

from bistil_ds.benchmarking.gpu.setting import Emit, Setting, Skip
from bistil_ds.benchmarking.models.shapes import XLMR
from bistil_ds.benchmarking.training_step.ways import Shape
from bistil_ds.distributed import startup

if TYPE_CHECKING:
    from datasets import Dataset

    from bistil_ds.distillation.arguments import DistillationArguments

STAGES = (2, 3)  # of ZeRO
TOLERANCE = 0.01  # largest relative difference of a step's losses that counts as the same, in bf16
TOY = Shape(length=16, batch=2, layers=2, width=32, heads=2, vocabulary=100)
MINI = Shape(length=64, layers=6, width=256, heads=4, vocabulary=8_000)
FULL = Shape(length=256, vocabulary=30_000, mmt=XLMR)
LANGUAGES = ("en", "tr")


@dataclass(frozen=True)
class Run:
    """One training run: a model's name and shape, ZeRO's stage (None: without DeepSpeed), and the choice of kernels."""

    model: str
    shape: Shape
    stage: int | None
    kernels: str

    def named(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        return {"model": self.model, "zero": self.stage, "kernels": self.kernels}


def measure(setting: Setting, emit: Emit) -> None:
    """Emit the losses of each run, and after each pair of runs how far their losses are apart.

    Raises:
        Skip: the library datasets is missing, through which the trainer gets its text.
    """
    if find_spec("datasets") is None:
        raise Skip("the package datasets is not installed")
    stages: Sequence[int | None] = STAGES
    if find_spec("deepspeed") is None:
        emit.finding({"note": "the package deepspeed is not installed: trained without it"})
        stages = (None,)
    else:
        startup.choose_accelerator()
        startup.prepare_environment(use_deepspeed=True)
        startup.start_distributed(use_deepspeed=True)
    try:
        for pair in pairs(setting.rehearsal, stages):
            found = [_try(run, setting, emit) for run in pair]
            if all(found):
                emit.finding({**pair[0].named(), "kernels": None, **comparison(*found)})
    finally:
        startup.stop_distributed()


def pairs(rehearsal: bool, stages: Sequence[int | None]) -> Iterator[tuple[Run, Run]]:
    """Yield the runs to compare. A CPU has no kernels, so that a rehearsal compares PyTorch with itself."""
    models = [("toy", TOY)] if rehearsal else [("mini", MINI), (f"{XLMR}'s shape", FULL)]
    for name, shape in models:
        for stage in stages:
            yield Run(name, shape, stage, "torch"), Run(name, shape, stage, "auto" if rehearsal else "triton")


def comparison(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Return the largest relative difference of two runs' losses, step by step, and whether it is within TOLERANCE.

    It is None if the runs have different numbers of steps, none at all, or a loss that is not finite.
    """
    if len(ours) != len(theirs) or not ours or not all(map(math.isfinite, (*ours, *theirs))):
        return {"largest_difference": None, "same": False}
    worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
    return {"largest_difference": worst, "same": worst <= TOLERANCE}


def _try(run: Run, setting: Setting, emit: Emit) -> list[float]:
    """Return the losses of a run, and emit them; emit its error and return nothing if it fails."""
    setting.check_time()
    try:
        found = train(run, setting.work, on_gpu=not setting.rehearsal)
    except Exception as error:  # one failing run must not lose the others
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        emit.finding({**run.named(), "error": reason})
        return []
    emit.finding({**run.named(), "losses": [loss if math.isfinite(loss) else str(loss) for loss in found]})
    return found


def train(run: Run, work: Path, *, on_gpu: bool) -> list[float]:
    """Train a student of every second layer for a few steps and return the loss of each step."""
    from bistil_ds.distillation.arguments import LossArguments
    from bistil_ds.distillation.trainer import DistillationTrainer
    from bistil_ds.student import build_student

    torch.manual_seed(0)
    teacher = run.shape.model(1, torch.device("cpu"))
    built = build_student(teacher, progress=False)
    trainer = DistillationTrainer(
        built.student,
        teacher,
        _arguments(run, work, on_gpu),
        layer_map=built.layer_map,
        train_dataset={language: _chunks(run.shape, teacher, seed) for seed, language in enumerate(LANGUAGES)},
        losses=LossArguments(logit_weight="1"),
        processing_class=_tokenizer(),
    )
    try:
        trainer.train()
        return [row["loss"] for row in trainer.state.log_history if "loss" in row]
    finally:
        del trainer, teacher, built
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()


def _arguments(run: Run, work: Path, on_gpu: bool) -> DistillationArguments:
    from bistil_ds.distillation.arguments import DistillationArguments
    from bistil_ds.distributed.config import find_config

    return DistillationArguments(
        output_dir=str(work / "run"),
        max_steps=20 if on_gpu else 2,
        logging_steps=1,
        per_device_train_batch_size=run.shape.batch,
        learning_rate=1e-4,
        bf16=on_gpu,
        kernels=run.kernels,
        deepspeed=str(find_config(f"zero{run.stage}")) if run.stage is not None else None,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        report_to="none",
        disable_tqdm=True,
    )


def _chunks(shape: Shape, teacher: PreTrainedModel, seed: int) -> Dataset:
    """Return rows of random ids, half of them shorter than the others, so that batches have padding."""
    from datasets import Dataset

    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(len(SPECIAL), teacher.config.vocab_size, (64, shape.length), generator=random).tolist()
    return Dataset.from_dict({"input_ids": [row[: len(row) // (1 + place % 2)] for place, row in enumerate(ids)]})


SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def _tokenizer() -> BertTokenizer:
    """Return a tokenizer that knows nothing but the special tokens: the trainer asks for their ids alone."""
    return BertTokenizer(vocab={token: place for place, token in enumerate(SPECIAL)})
