"""Score a model, or its file in an engine, on labelled data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bistil_ds.export.engines.report import Scores
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.models import LoadedTaskModel
from bistil_ds.tasks.prediction import predict

BATCH_SIZE = 32
DIGITS = 6  # of a loss in points, so that 1.0000000000000009 is 1


def score(model: nn.Module, loaded: LoadedTaskModel, dev_sets: Sequence[TaskData], name: str) -> Scores:
    """Return language → the task's metrics for a model that stands in for `loaded.model`; `name` is for the bar."""
    return {str(data.language): _metrics(model, loaded, data, name) for data in dev_sets}


def _metrics(model: nn.Module, loaded: LoadedTaskModel, data: TaskData, name: str) -> dict[str, float]:
    task = loaded.task
    answers = predict(
        model,
        data,
        loaded.labels,
        batch_size=BATCH_SIZE,
        device=torch.device("cpu"),
        pad_token_id=int(loaded.tokenizer.pad_token_id),
        progress=f"{name}, {data.language}",
    )
    counts = [task.counts(example, answer, data.language) for example, answer in zip(data.examples, answers)]
    return task.metrics(np.sum(counts, axis=0))


def most_lost(before: Scores, after: Scores, metric: str) -> tuple[float, str]:
    """Return the largest loss of a metric in points (hundredths), and its language; negative if all scores rose."""
    losses = {language: 100 * (before[language][metric] - after[language][metric]) for language in before}
    worst = max(losses, key=lambda language: np.nan_to_num(losses[language], nan=np.inf))
    return round(losses[worst], DIGITS), worst
