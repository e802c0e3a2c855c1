"""Find the flags whose values a resumed run must keep, and check at which ZeRO stage it may go on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from bistil_ds.distributed.config import zero_stage
from bistil_ds.errors import InputError, Notice
from bistil_ds.runs.record import RunRecord
from bistil_ds.training.flags.inherited import MAY_CHANGE, NO_EFFECT, by_name

# Reason → flags of `SealedArguments` that may change.
SEALED = {
    "whose checkpoints a run opens": ("seal_key", "trust_checkpoint"),
    "how it is computed": ("kernels", "rank_timeout"),
}


def fixed_flags(kinds: Sequence[type], may_change: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return the flags of a command that a resumed run must not change: all that no table lists as free to change.

    Args:
        kinds: the dataclasses of the command's flags.
        may_change: reason → further flags that may change, which the command itself defines.
    """
    free = {name for table in (MAY_CHANGE, NO_EFFECT, SEALED, may_change) for name in by_name(table)}
    return {one.name for kind in kinds for one in fields(kind) if one.init} - free


def check_stage(deepspeed: str | None, folder: Path) -> None:
    """Raise InputError if a run cannot go on at a ZeRO stage (None without DeepSpeed) because of the one of its start.

    ZeRO-1 to ZeRO-3 go on with each other's checkpoints, which a Notice says; ZeRO-0 and runs without DeepSpeed only
    with their own. A run of an earlier version, which recorded no stage, passes.
    """
    results = RunRecord.open(folder).content["results"]
    stage = zero_stage(deepspeed)
    then = results.get("zero_stage", stage)
    if stage == then:
        return
    if not stage or not then:
        raise InputError(
            f"--deepspeed {deepspeed}: is {_named(stage)}, but the run in {folder} was started {_named(then)}"
        )
    warnings.warn(f"{folder}: goes on {_named(stage)}; it was started {_named(then)}", Notice, stacklevel=3)


def _named(stage: int | None) -> str:
    return "without DeepSpeed" if stage is None else f"at ZeRO stage {stage}"
