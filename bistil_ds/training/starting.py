"""Start a run, from a command or from Python: prepare on rank 0, train on every rank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bistil_ds.distributed import startup
from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.errors import InputError
from bistil_ds.runs.folder import remove_refused
from bistil_ds.training.request import TrainingRequest


class Request(Protocol):
    """What a run is asked to do."""

    @property
    def training(self) -> TrainingRequest: ...


class Prepared(Protocol):
    """A run whose models lie in its folder."""

    @property
    def folder(self) -> Path: ...

    @property
    def is_new(self) -> bool: ...


Asked = TypeVar("Asked", bound=Request)
Run = TypeVar("Run", bound=Prepared)


def start(prepare: Callable[[], Run], train: Callable[[Run], Any], *, use_deepspeed: bool) -> Run:
    """Prepare a run and train it; if training refuses a new run, remove what the preparation wrote."""

    def train_or_remove(run: Run) -> None:
        try:
            train(run)
        except InputError:
            if startup.rank() == 0 and run.is_new:
                remove_refused(run.folder)
            raise

    return run_on_ranks(prepare, train_or_remove, use_deepspeed=use_deepspeed)


def start_from_python(request: Asked, prepare: Callable[[Asked], Run], train: Callable[[Run], Any]) -> Path:
    """Start the run that a request asks for, and return its folder."""
    return start(lambda: prepare(request), train, use_deepspeed=bool(request.training["deepspeed"])).folder
