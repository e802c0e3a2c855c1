"""Part (c): train phase 1 with PyTorch's losses and with the kernels', and compare the losses of every step.

Models are made from configurations and token ids are drawn, so nothing is downloaded. B sequences, T tokens.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
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
TERMS = ("hidden", "attention", "logit")
TOLERANCE = 0.02  # largest relative difference of a step's values that counts as the same, in bf16
SMALLEST = 1e-6  # values below it are compared as if they were it
TOY = Shape(length=16, batch=2, layers=2, width=32, heads=2, vocabulary=100)
MINI = Shape(length=64, layers=6, width=256, heads=4, vocabulary=8_000)
FULL = Shape(length=256, vocabulary=30_000, mmt=XLMR)
LANGUAGES = ("en", "tr")

Step = dict[str, float]  # the loss of a step, and the mean of each of TERMS


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
    """Emit the loss and its terms at each step of each run, and after each pair of runs how far they are apart.

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


def comparison(ours: Sequence[Step], theirs: Sequence[Step]) -> dict[str, Any]:
    """Return the largest relative difference of two runs for each value, and whether all are within TOLERANCE.

    `same` is False, too, if the runs have different steps, none at all, or a value that is not finite.
    """
    names = sorted({name for step in (*ours, *theirs) for name in step})
    alike = len(ours) == len(theirs) and all(a.keys() == b.keys() for a, b in zip(ours, theirs))
    values = [value for step in (*ours, *theirs) for value in step.values()]
    if not values or not alike or not all(map(math.isfinite, values)):
        return {"differences": None, "same": False}
    worst = {
        name: max(abs(a[name] - b[name]) / max(abs(b[name]), SMALLEST) for a, b in zip(ours, theirs)) for name in names
    }
    return {"differences": worst, "same": max(worst.values()) <= TOLERANCE}


def _try(run: Run, setting: Setting, emit: Emit) -> list[Step]:
    """Return the steps of a run, and emit them; emit its error and return nothing if it fails."""
    setting.check_time()
    try:
        found = train(run, setting.work, on_gpu=not setting.rehearsal)
    except Exception as error:  # one failing run must not lose the others
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        emit.finding({**run.named(), "error": reason})
        return []
    shown = [{name: x if math.isfinite(x) else str(x) for name, x in step.items()} for step in found]
    emit.finding({**run.named(), "steps": shown})
    return found


def train(run: Run, work: Path, *, on_gpu: bool) -> list[Step]:
    """Train a student of every second layer for a few steps, and return the values of each step."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from bistil_ds.distillation.arguments import LossArguments
    from bistil_ds.distillation.trainer import DistillationTrainer
    from bistil_ds.student import build_student

    teacher = _teacher(run.shape)
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
        return [_values(row) for row in trainer.state.log_history if "loss" in row]
    finally:
        del trainer, teacher, built
        unset_hf_deepspeed_config()  # else ZeRO-3 would partition the models of the next run when they are made
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()


def _values(row: Mapping[str, float]) -> Step:
    """Return the values of a step that are compared: its loss and each term's mean, whichever language it was of."""
    terms = {name.partition("/")[2]: value for name, value in row.items() if "/" in name}
    return {"loss": row["loss"], **{name: terms[name] for name in TERMS}}


@torch.no_grad()
def _teacher(shape: Shape) -> PreTrainedModel:
    """Return a teacher whose matrices are so large that tokens attend to some tokens more than to others.

    Scores have a standard deviation of about 2. With the weights of a model that begins to train, all maps would be
    uniform, and a wrong loss of maps would not show.
    """
    torch.manual_seed(0)
    teacher = shape.model(1, torch.device("cpu"))
    for parameter in teacher.parameters():
        if parameter.dim() == 2:
            parameter.mul_((2 / teacher.config.hidden_size) ** 0.5 / teacher.config.initializer_range)
    return teacher


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
