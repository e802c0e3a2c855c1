"""Start a run's ranks in order: rank 0 prepares, the ranks meet, all of them train."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from bistil_ds.distributed import startup
from bistil_ds.runs import findings

Prepared = TypeVar("Prepared")


def run_on_ranks(
    prepare: Callable[[], Prepared], train: Callable[[Prepared], None], *, use_deepspeed: bool
) -> Prepared:
    """Call `prepare` on rank 0, before the ranks meet, then `train` on every rank with what `prepare` returned.

    Rank 0 prepares first, because at ZeRO-3 every model that is loaded after the ranks have met is partitioned. Files
    that rank 0 has hashed meanwhile are not hashed again (`bistil_ds.runs.findings`).

    Returns:
        What `prepare` returned, on every rank.
    """
    startup.choose_accelerator()
    if not use_deepspeed:
        os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)  # accelerate leaves it set after a run with DeepSpeed
    alone = (prepare(), findings.known()) if startup.rank() == 0 else None
    startup.prepare_environment(use_deepspeed)
    startup.start_distributed(use_deepspeed)
    prepared, found = startup.from_rank_0(alone)
    findings.learn(found)
    train(prepared)
    return prepared
