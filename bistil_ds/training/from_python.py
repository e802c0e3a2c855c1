"""Start from Python what a command starts from its flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.training.request import TrainingRequest


class Prepared(Protocol):
    """A run whose models lie in its folder."""

    @property
    def folder(self) -> Path: ...


class Request(Protocol):
    """What a run is asked to do."""

    @property
    def training(self) -> TrainingRequest: ...


Asked = TypeVar("Asked", bound=Request)
Run = TypeVar("Run", bound=Prepared)


def run(request: Asked, prepare: Callable[[Asked], Run], train: Callable[[Run], Any]) -> Path:
    """Prepare a request on rank 0, train it on every rank, and return the run folder."""
    deepspeed = bool(request.training["deepspeed"])
    return run_on_ranks(lambda: prepare(request), train, use_deepspeed=deepspeed).folder
