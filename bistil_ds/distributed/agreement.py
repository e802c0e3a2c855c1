"""Tell every rank what only one rank has noticed, so that all ranks react at the same point of the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

from bistil_ds.distributed import startup
from bistil_ds.errors import InputError

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


def first_complaint(complaint: str | None) -> str | None:
    """Return, on every rank, the complaint (a message) of the lowest rank that has one; None if no rank has one.

    Every rank must call this.
    """
    if not on_any_rank(complaint is not None):
        return None
    return next(one for one in startup.from_every_rank(complaint) if one is not None)


def ask_rank_0(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only, and return its result on every rank; every rank must call this.

    Raises:
        InputError: on every rank, if `function` raised it on rank 0.
    """
    answer: tuple[list[T], str] | None = None
    if startup.rank() == 0:
        try:
            answer = [function()], ""
        except InputError as error:
            answer = [], str(error)
    values, refusal = startup.from_rank_0(answer)
    if not values:
        raise InputError(refusal)
    return values[0]
