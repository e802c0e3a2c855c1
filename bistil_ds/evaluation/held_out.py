"""The test sets of an evaluation: how models are run on them, and how the results become metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bistil_ds.tasks.candidates import Candidate
from bistil_ds.tasks.models import LoadedTaskModel

Advance = Callable[[int], object]  # takes the number of inputs that a model has newly answered, for a progress bar


@dataclass(frozen=True)
class Cell:
    """The results of one model in one language.

    Attributes:
        counts_NC: what each example adds to the metrics: float64, N examples, C counts.
        seconds: wall time of answering all inputs.
        inputs: number of inputs that were answered, `HeldOut.inputs`.
        kept: what the other models are compared with, if this is the reference's cell; else None.
    """

    counts_NC: np.ndarray
    seconds: float
    inputs: int
    kept: Any = field(default=None, repr=False)

    @property
    def examples_per_second(self) -> float:
        """Return the inputs that the model answered per second; see `HeldOut.timed` for what that includes.

        Other programs on the machine lower this speed.
        """
        return self.inputs / self.seconds


@dataclass(frozen=True)
class RunOptions:
    """How a model is run: rows in a batch, and the device."""

    batch_size: int
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class HeldOut(ABC):
    """The test examples of one language, or of a pair of languages.

    Attributes:
        language: the language's name, which tables and `Task.counts` use.
        source: the file, files or hub data set.
        sha256: hash of what was read; None for a hub data set.
        examples: the examples of the source, or the first of them.
        in_source: number of examples in the source.
        seen_in_training: share of the texts of `examples` that also stand in a training file; None if no training file
            is known.
        timed: what an example is, and which work is timed, in `Cell.examples_per_second`.
        compared: a sentence for reports on metrics that compare a model with the reference; "" if there are none.
    """

    language: str
    source: str
    sha256: str | None
    examples: list[Any] = field(repr=False)
    in_source: int
    seen_in_training: float | None = None
    timed: ClassVar[str]
    compared: ClassVar[str] = ""

    @property
    @abstractmethod
    def metric(self) -> str:
        """Return the name of the main metric."""

    @property
    def inputs(self) -> int:
        """Return the number of inputs of a model; by default each example is one."""
        return len(self.examples)

    def first(self, limit: int | None) -> HeldOut:
        """Return the test set with only its first `limit` examples; with all if that is None."""
        return replace(self, examples=self.examples[:limit])

    @abstractmethod
    def text_keys(self) -> list[str]:
        """Return the keys of all texts of `examples`, as `Task.text_key` makes them."""

    @abstractmethod
    def check(self, loaded: LoadedTaskModel, candidate: Candidate, flag: str) -> None:
        """Raise InputError if the model cannot be run on the test set."""

    def describe(self, loaded: LoadedTaskModel, candidate: Candidate) -> str:
        """Return in one line how the model makes what is measured, for reports; "" if there is nothing to say."""
        return ""

    @abstractmethod
    def answer(
        self,
        loaded: LoadedTaskModel,
        candidate: Candidate,
        options: RunOptions,
        advance: Advance,
        reference: Cell | None,
    ) -> Cell:
        """Run a model, which is on the device already.

        Args:
            reference: the cell of the model that others are compared with; None if this is that model.
        """

    @abstractmethod
    def statistics(self, counts_NC: np.ndarray, weights_RN: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return metric → its value in each of R resamples; see `Statistic`."""


@contextmanager
def counting(model: nn.Module, count: Callable[[int], object]) -> Iterator[None]:
    """Call `count` with the number of rows of each batch that the model answers meanwhile."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        count(len(args[0] if args else kwargs["input_ids"]))

    handle = model.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
