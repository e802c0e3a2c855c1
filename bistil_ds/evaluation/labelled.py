"""Test sets with labels: each example has a right answer, and its counts add up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bistil_ds.evaluation.bootstrap import of_totals
from bistil_ds.evaluation.held_out import Advance, Cell, HeldOut, RunOptions, counting
from bistil_ds.tasks.candidates import Candidate
from bistil_ds.tasks.data import TaskData, make_rows, read_examples
from bistil_ds.tasks.models import LoadedTaskModel
from bistil_ds.tasks.prediction import predict
from bistil_ds.tasks.task import ReadOptions, Task
from bistil_ds.text.corpus import corpus_hash

WARM_UP = 8  # examples that a model answers before timing starts


@dataclass(frozen=True, kw_only=True)
class Labelled(HeldOut):
    """Labelled examples of a task."""

    task: Task
    timed: ClassVar[str] = "tokenising not included"

    @property
    def metric(self) -> str:
        """Return the task's main metric."""
        return self.task.metric

    def text_keys(self) -> list[str]:
        """Return the key of each example."""
        return [self.task.text_key(example) for example in self.examples]

    def check(self, loaded: LoadedTaskModel, candidate: Candidate, flag: str) -> None:
        """Raise InputError for a label that the model was not trained on, or if the longest input is too short."""
        self.task.check_labels(self.examples, candidate.labels, flag)
        self.task.features(
            self.examples[:1], loaded.tokenizer, candidate.labels, candidate.max_length, training=False
        )  # raises if the length is too short

    def answer(
        self,
        loaded: LoadedTaskModel,
        candidate: Candidate,
        options: RunOptions,
        advance: Advance,
        reference: Cell | None,
    ) -> Cell:
        """Return the counts of each example, and the seconds of answering them all."""
        labels = candidate.labels
        source = f"--test_file {self.source}"
        rows = make_rows(self.task, self.examples, loaded.tokenizer, labels, candidate.max_length, source=source)
        data = TaskData(self.task, self.language, self.source, self.examples, rows)

        def predicted(part: TaskData) -> list[Any]:
            pad = int(loaded.tokenizer.pad_token_id)
            return predict(
                loaded.model, part, labels, batch_size=options.batch_size, device=options.device, pad_token_id=pad
            )

        predicted(_first(data, WARM_UP))  # the first batch is slower: memory is allocated, and kernels are chosen
        seen = shown = 0

        def count(more: int) -> None:
            nonlocal seen, shown
            seen += more
            now = len(self.examples) * seen // len(rows)
            advance(now - shown)
            shown = now

        began = time.perf_counter()
        with counting(loaded.model, count):
            answers = predicted(data)
        seconds = time.perf_counter() - began  # no synchronisation is needed, because the answers are on the CPU
        pairs = zip(self.examples, answers, strict=True)
        counts = [self.task.counts(example, got, self.language) for example, got in pairs]
        return Cell(np.stack(counts), seconds, len(self.examples))

    def statistics(self, counts_NC: np.ndarray, weights_RN: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the task's metrics, computed from the sums of the counts."""
        return of_totals(self.task.metrics)(counts_NC, weights_RN)


def read_labelled(task: Task, source: str, options: ReadOptions, progress: bool) -> Labelled:
    """Return the test set in `options.language`.

    Raises:
        InputError: from `read_examples` and `corpus_hash`.
    """
    examples = read_examples(task, source, options, progress)
    task.check_language(options.language, options.flag)
    sha256 = corpus_hash(source, options.flag)
    return Labelled(
        language=options.language or "",
        source=source,
        sha256=sha256,
        examples=examples,
        in_source=len(examples),
        task=task,
    )


def _first(data: TaskData, examples: int) -> TaskData:
    rows = [row for row in data.rows if row["example"] < examples]
    return replace(data, examples=data.examples[:examples], rows=rows)
