"""Time the first steps of pretraining, to estimate the whole run (flag --dry_run)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from transformers import Trainer

from bistil_ds.models.inputs import load_config
from bistil_ds.pretraining.data import read_lines
from bistil_ds.runs.size import tree_bytes
from bistil_ds.training.estimate.arithmetic import Checkpoints
from bistil_ds.training.estimate.first_steps import FirstSteps
from bistil_ds.training.estimate.table import COUNTED, Rehearsal, Row, Training, shaped, sized


def rehearse(texts: Mapping[str, Path], train: Callable[..., object]) -> tuple[Rehearsal, float]:
    """Train the first steps in a temporary folder; return the findings, and the seconds of preparation before training.

    Args:
        texts: language → UTF-8 text file.
        train: `pretrain` or `train_head` of these texts; takes the folder, and `progress` and `watch`.

    Raises:
        InputError: as for `train`.
    """
    started, timed = time.perf_counter(), list[tuple[FirstSteps, float]]()

    def watch(trainer: Trainer) -> None:
        timed.append((FirstSteps(trainer), time.perf_counter() - started))

    with tempfile.TemporaryDirectory() as folder:
        train(folder, progress=False, watch=watch)
        config, result = load_config("", folder), tree_bytes(Path(folder))
    ((steps, seconds),) = timed
    first = steps.result
    read: list[Row] = [
        (f"{language}: {sized(str(path))}", f"{len(read_lines(Path(path))):,} lines", COUNTED)
        for language, path in sorted(texts.items())
    ]
    built: list[Row] = [
        (f"model, {shaped(config)}", f"{first.parameters:,} parameters", COUNTED),
        ("vocabulary", f"{config.vocab_size:,} tokens", COUNTED),
    ]
    training = Training("training", first, 0, Checkpoints(0, 0))
    return Rehearsal(read, built, [training], build_bytes=0, result_bytes=result, keeps_checkpoints=False), seconds
