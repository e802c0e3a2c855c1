"""A function on several ranks of this machine, each a process of its own, joined in one process group."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import torch

from bistil_ds.benchmarking.harness.own_process import InOwnProcess
from bistil_ds.distributed import startup


def on_ranks(count: int, threads: int, function: Callable[..., Any], *arguments: object) -> list[Any]:
    """What `function(*arguments)` returns on each of `count` ranks, run side by side with `threads` threads each.

    Function, arguments and results must pickle. DeepSpeed is ready on every rank.

    Raises:
        RemoteError: it failed on a rank.
    """
    port = startup.free_port()
    with ExitStack() as stack, ThreadPoolExecutor(count) as together:
        ranks = [stack.enter_context(InOwnProcess(_Rank, rank, count, port, threads)) for rank in range(count)]
        return list(together.map(lambda process: process.call("run", function, arguments), ranks))


class _Rank:
    def __init__(self, rank: int, ranks: int, port: int, threads: int) -> None:
        torch.set_num_threads(threads)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # as decided here, not once more from the number of ranks
        startup.choose_accelerator()
        warnings.simplefilter("ignore", FutureWarning)  # DeepSpeed's calls of torch, one a step

    def run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
        """Ranks meet here."""
        startup.prepare_environment(use_deepspeed=True)
        startup.start_distributed(use_deepspeed=True)
        found = function(*arguments)
        startup.stop_distributed()
        return found
