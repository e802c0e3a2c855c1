"""Score a model, or its file in an engine, on the files that a user gives for it.

Shapes: N texts, E values of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.export.engines.request import DEV
from bistil_ds.tasks.data import TaskData, make_rows, read_examples
from bistil_ds.tasks.embed.pairs import parse_parallel, read_parallel
from bistil_ds.tasks.models import LoadedTaskModel
from bistil_ds.tasks.prediction import predict
from bistil_ds.tasks.task import ReadOptions, Row

BATCH_SIZE = 32
ACCURACY = "bitext accuracy"

Answer = Callable[[TaskData], list[Any]]  # a model's answers to all examples, in their order


@dataclass(frozen=True)
class DevSet(ABC):
    """Data on which models are scored.

    Attributes:
        name: the language, or whatever the user calls it.
        files: files or hub data sets.
        metric: the one by which losses are measured.
        examples: number of examples.
    """

    name: str
    files: Sequence[str]
    metric: str
    examples: int

    @abstractmethod
    def scores(self, answer: Answer) -> dict[str, float]:
        """Return the metrics, between 0 and 1, of the model that `answer` runs."""


@dataclass(frozen=True)
class TaskSet(DevSet):
    """Examples of the task. Where the task has no labels, these are the answers of the model in PyTorch."""

    data: TaskData

    def scores(self, answer: Answer) -> dict[str, float]:
        return self.data.task.scores(self.data.examples, answer(self.data), self.data.language)


@dataclass(frozen=True)
class Bitext(DevSet):
    """Two files of texts that translate each other, line by line, for the task `embed`."""

    source: TaskData
    target: TaskData

    def scores(self, answer: Answer) -> dict[str, float]:
        """Return the share of texts whose translation is the nearest text of the other file, the mean of both ways."""
        source_NE, target_NE = (_unit(np.stack(answer(side))) for side in (self.source, self.target))
        cosines_NN, own_N = source_NE @ target_NE.T, np.arange(len(source_NE))
        found = [(cosines_NN.argmax(axis) == own_N).mean() for axis in (0, 1)]
        return {ACCURACY: float(np.mean(found))}


def read_dev_sets(files: Mapping[str, str], loaded: LoadedTaskModel, max_length: int) -> list[DevSet]:
    """Read the files of --dev_file; for the task `embed`, a file may be two: SOURCE,TRANSLATIONS.

    Raises:
        InputError: a file cannot be read, or has labels that the model does not know.
    """
    return [
        _read_bitext(name, file, loaded, max_length)
        if isinstance(loaded.model, SentenceEncoder) and "," in file
        else _read_task_set(name, file, loaded, max_length)
        for name, file in files.items()
    ]


def answers_of(model: nn.Module, loaded: LoadedTaskModel, name: str) -> Answer:
    """Return the function that lets `model`, which stands in for `loaded.model`, answer; `name` is for the bar."""

    def answer(data: TaskData) -> list[Any]:
        pad, device = int(loaded.tokenizer.pad_token_id), torch.device("cpu")
        title = f"{name}, {data.language}"
        return predict(
            model, data, loaded.labels, batch_size=BATCH_SIZE, device=device, pad_token_id=pad, progress=title
        )

    return answer


def _read_task_set(name: str, file: str, loaded: LoadedTaskModel, max_length: int) -> TaskSet:
    task = loaded.task
    examples = read_examples(task, file, ReadOptions(DEV, language=name))
    task.check_labels(examples, loaded.labels, DEV)
    task.check_language(name, DEV)
    rows = make_rows(task, examples, loaded.tokenizer, loaded.labels, max_length, source=f"{DEV} {file}")
    data = TaskData(task, name, file, examples, rows)
    if task.needs_teacher:
        found = answers_of(loaded.model, loaded, "PyTorch")(data)
        data = replace(data, examples=[task.with_teacher(*pair) for pair in zip(data.examples, found, strict=True)])
    return TaskSet(name, [file], task.metric, len(data.examples), data)


def _read_bitext(name: str, files: str, loaded: LoadedTaskModel, max_length: int) -> Bitext:
    ((_, *paths),) = parse_parallel([f"{name}={files}"], DEV)
    pairs = list(read_parallel(paths[0], paths[1], DEV))
    sides = [[pair.source for pair in pairs], [pair.text for pair in pairs]]
    source, target = (
        TaskData(loaded.task, name, path, texts, _rows(texts, loaded, max_length))
        for path, texts in zip(paths, sides, strict=True)
    )
    return Bitext(name, paths, ACCURACY, len(pairs), source, target)


def _rows(texts: Sequence[str], loaded: LoadedTaskModel, max_length: int) -> list[Row]:
    prompt = loaded.model.settings.prompt
    encoded = loaded.tokenizer([prompt + text for text in texts], truncation=True, max_length=max_length)
    return [{"input_ids": ids, "example": number} for number, ids in enumerate(encoded["input_ids"])]


def _unit(vectors_NE: np.ndarray) -> np.ndarray:
    lengths_N1 = np.linalg.norm(vectors_NE, axis=1, keepdims=True)
    unit_NE: np.ndarray = vectors_NE / np.maximum(lengths_N1, 1e-12)
    return unit_NE
