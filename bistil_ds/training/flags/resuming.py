"""Find the flags whose values a resumed run must keep, and check that it resumes at the same ZeRO stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from bistil_ds.distributed.config import zero_stage
from bistil_ds.errors import InputError
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


def check_same_stage(deepspeed: str | None, folder: Path) -> None:
    """Raise InputError unless a run is resumed at its recorded ZeRO stage (None in a run without DeepSpeed).

    Checkpoints of different stages differ in form. A run of an earlier version, which recorded no stage, passes.
    """
    results = RunRecord.open(folder).content["results"]
    stage = zero_stage(deepspeed)
    if "zero_stage" in results and results["zero_stage"] != stage:
        now, then = (_named(one) for one in (stage, results["zero_stage"]))
        raise InputError(f"--deepspeed {deepspeed}: is {now}, but the run in {folder} was started {then}")


def _named(stage: int | None) -> str:
    return "without DeepSpeed" if stage is None else f"at ZeRO stage {stage}"
