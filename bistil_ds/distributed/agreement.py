"""Tell every rank what only one rank has noticed, so that all ranks react at the same point of the program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

from bistil_ds.distributed import startup
from bistil_ds.errors import InputError, OtherRankError

T = TypeVar("T")


def on_any_rank(flag: bool) -> bool:
    """Return, on every rank, whether `flag` is true on at least one; every rank must call this.

    If the process group has a CPU backend, the flags are compared on the CPU, so that no rank waits for its GPU.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return flag
    device = "cpu" if "cpu:" in str(dist.get_backend_config()) else "cuda"
    raised = torch.tensor([int(flag)], dtype=torch.int32, device=device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised.item())


def first_complaint(complaint: T | None) -> T | None:
    """Return, on every rank, the complaint (such as a message) of the lowest rank that has one; None if no rank has.

    Every rank must call this.
    """
    if not on_any_rank(complaint is not None):
        return None
    return next(one for one in startup.from_every_rank(complaint) if one is not None)


@contextmanager
def failing_together() -> Iterator[None]:
    """Run a block without exchanges between ranks, then wait for all ranks; if it fails on one, raise on every rank.

    Every rank must come here. The block may last longer on one rank than exchanges may (see `startup`).

    Raises:
        InputError: the block raised it on another rank.
        OtherRankError: the block raised something else on another rank; the message is one line.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    startup.wait_for_every_rank()
    complaint = first_complaint(None if failure is None else _in_words(failure))
    if failure is not None:
        raise failure
    if complaint is not None:
        kind, words = complaint
        raise kind(words)


def _in_words(error: Exception) -> tuple[type[Exception], str]:
    """Return what other ranks raise when this one fails: the kind of error and its message."""
    if isinstance(error, InputError):
        return InputError, str(error)
    return OtherRankError, f"rank {startup.rank()}: {type(error).__name__}: {' '.join(str(error).split())}"


def ask_rank_0(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only, and return its result on every rank; every rank must call this.

    Raises:
        InputError: on every rank, if `function` raised it on rank 0.
        OtherRankError: on all ranks but 0, if `function` raised something else there; rank 0 raises that.
    """
    answer: list[T] = []
    with failing_together():
        if startup.rank() == 0:
            answer = [function()]
    return startup.from_rank_0(answer)[0]
