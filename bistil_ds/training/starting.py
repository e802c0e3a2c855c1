"""Start a run, from a command or from Python: prepare on rank 0, train on every rank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bistil_ds.distributed import startup
from bistil_ds.distributed.agreement import ask_rank_0, failing_together
from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.errors import InputError
from bistil_ds.runs import holding
from bistil_ds.runs.folder import remove_refused
from bistil_ds.training.request import TrainingRequest


class Request(Protocol):
    """What a run is asked to do."""

    @property
    def training(self) -> TrainingRequest: ...


class Prepared(Protocol):
    """A run that rank 0 has prepared: its folder holds the models that training starts from."""

    @property
    def folder(self) -> Path: ...

    @property
    def is_new(self) -> bool: ...


Asked = TypeVar("Asked", bound=Request)
Run = TypeVar("Run", bound=Prepared)


def start(
    prepare: Callable[[], Run],
    train: Callable[[Run], Any],
    *,
    use_deepspeed: bool,
    rank_timeout: float | None = None,
) -> Run:
    """Prepare a run and train it; if training refuses a new run, remove what the preparation wrote.

    Every rank holds the run's folder while it trains (see `bistil_ds.runs.holding`). The arguments are those of
    `run_on_ranks`.
    """

    def train_or_remove(run: Run) -> None:
        try:
            hold_on_all_ranks(run.folder)
            train(run)
        except InputError:
            if startup.rank() == 0 and run.is_new:
                remove_refused(run.folder)
            raise

    return run_on_ranks(prepare, train_or_remove, use_deepspeed=use_deepspeed, rank_timeout=rank_timeout)


def hold_on_all_ranks(folder: Path) -> None:
    """Hold the folder that rank 0 holds on the other ranks, too, so that a rank that is left over keeps it held.

    Raises:
        InputError: a rank does not see the folder of rank 0.
    """
    run = ask_rank_0(lambda: holding.share(folder))
    with failing_together():
        if run is not None and startup.rank() > 0:
            holding.join(folder, run)


def start_from_python(request: Asked, prepare: Callable[[Asked], Run], train: Callable[[Run], Any]) -> Path:
    """Start the run that a request asks for, and return its folder."""
    training = request.training
    return start(
        lambda: prepare(request),
        train,
        use_deepspeed=bool(training["deepspeed"]),
        rank_timeout=training.values.get("rank_timeout"),
    ).folder
