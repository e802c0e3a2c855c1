"""Start a run's ranks in order: rank 0 prepares, the ranks meet, all of them train."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch

from bistil_ds.distributed import startup
from bistil_ds.distributed.interface import choose_interface
from bistil_ds.distributed.launcher import end_with_launcher
from bistil_ds.distributed.verdict import EXCHANGE
from bistil_ds.distributed.watch import watching
from bistil_ds.errors import InputError
from bistil_ds.runs import findings, holding

Prepared = TypeVar("Prepared")
ON_CPU, ON_GPU = 120.0, 600.0  # seconds after which a rank that hangs ends the run


def run_on_ranks(
    prepare: Callable[[], Prepared],
    train: Callable[[Prepared], None],
    *,
    use_deepspeed: bool,
    rank_timeout: float | None = None,
) -> Prepared:
    """Call `prepare` on rank 0, before the ranks meet, then `train` on every rank with what `prepare` returned.

    Rank 0 prepares first, because at ZeRO-3 every model that is loaded after the ranks have met is partitioned. Files
    that rank 0 has hashed meanwhile are not hashed again (`bistil_ds.runs.findings`). Meanwhile and later, the ranks
    watch each other (`bistil_ds.distributed.watch`). At the end, this process lets go of the folders that it holds.

    Args:
        rank_timeout: seconds after which a rank that hangs ends the run; default: 120, with a GPU 600.

    Returns:
        What `prepare` returned, on every rank.

    Raises:
        InputError: `rank_timeout` is below 1; or from `prepare` or `train`.
        OtherRankError: an exchange between the ranks failed.
    """
    limit = (ON_GPU if torch.cuda.is_available() else ON_CPU) if rank_timeout is None else rank_timeout
    if not 1 <= limit < float("inf"):
        raise InputError(f"--rank_timeout {limit}: expected a number of seconds, at least 1")
    startup.complete_variables()
    end_with_launcher()
    startup.choose_accelerator()
    if not use_deepspeed:
        os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)  # accelerate leaves it set after a run with DeepSpeed
    try:
        with watching(limit) as watch:
            alone = (prepare(), findings.known()) if startup.rank() == 0 else None
            startup.prepare_environment(use_deepspeed)
            choose_interface()
            startup.start_distributed(use_deepspeed, timedelta(seconds=EXCHANGE * limit))
            prepared, found = startup.from_rank_0(alone)
            if watch is not None:
                watch.building = False
            findings.learn(found)
            train(prepared)
            return prepared
    finally:
        holding.let_go_of_all()
