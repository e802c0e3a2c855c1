"""Run a function on several ranks of this machine, each in a process of its own, in one process group."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import Any

import torch

from bistil_ds.benchmarking.harness.own_process import InOwnProcess
from bistil_ds.distributed import startup


def on_ranks(count: int, threads: int, function: Callable[..., Any], *arguments: object) -> list[Any]:
    """Run `function(*arguments)` on `count` ranks at once, with `threads` threads each; return the results by rank.

    Function, arguments and results must pickle. Before the function runs, its rank joins the process group and prepares
    DeepSpeed. The first failure ends all ranks, as the others may wait for the one that failed.

    Raises:
        RemoteError: a rank could not start, or the function failed on it.
    """
    port = startup.free_port()
    with ThreadPoolExecutor(count) as together, ExitStack() as stack:  # processes end before their threads are awaited
        ranks = [stack.enter_context(InOwnProcess(_Rank, rank, count, port, threads)) for rank in range(count)]
        calls = [together.submit(process.call, "run", function, arguments) for process in ranks]
        for call in as_completed(calls):
            call.result()
        return [call.result() for call in calls]


class _Rank:
    def __init__(self, rank: int, ranks: int, port: int, threads: int) -> None:
        torch.set_num_threads(threads)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # else `prepare_environment` would divide `threads` by the ranks
        startup.choose_accelerator()
        warnings.simplefilter("ignore", FutureWarning)  # DeepSpeed causes one at every step

    def run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
        """Join the process group, call the function, leave the group and return the function's result."""
        startup.prepare_environment(use_deepspeed=True)
        startup.start_distributed(use_deepspeed=True)
        found = function(*arguments)
        startup.stop_distributed()
        return found
