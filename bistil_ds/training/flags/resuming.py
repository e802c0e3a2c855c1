"""Find the flags whose values a resumed run must keep, and check that it can go on from how it was started."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import zero_stage
from bistil_ds.errors import InputError, Notice
from bistil_ds.runs.folder import BUILD
from bistil_ds.runs.record import RunRecord
from bistil_ds.runs.seals import Seals
from bistil_ds.training.flags.inherited import MAY_CHANGE, NO_EFFECT, by_name
from bistil_ds.training.flags.step_size import ROWS_OF_STEP, StepSize

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


def of_start(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run with these training arguments records at its start, for `check_start` to compare."""
    return {
        "zero_stage": zero_stage(training["deepspeed"]),
        ROWS_OF_STEP: StepSize.of(training, startup.world_size()).rows,
    }


def check_start(training: Mapping[str, Any], folder: Path) -> None:
    """Raise InputError if a run cannot go on with these training arguments because of how it was started.

    A step keeps its number of rows over all ranks. ZeRO-1 to ZeRO-3 go on with each other's checkpoints, which a Notice
    says; ZeRO-0 and runs without DeepSpeed only with their own. What an earlier version did not record passes.
    """
    results = RunRecord.open(folder).content["results"]
    _check_stage(training["deepspeed"], folder, results)
    StepSize.of(training, startup.world_size()).check_kept(results.get(ROWS_OF_STEP), folder)


def check_build(folder: Path, parts: Sequence[str], seals: Seals) -> None:
    """Raise InputError unless the models that a run trains from still lie in its folder as they were built.

    Args:
        parts: the models' folders inside `build`.
    """
    for part in parts:
        if not (folder / BUILD / part / "config.json").is_file():
            raise InputError(f"{folder / BUILD / part}: missing, so the run cannot be resumed; start a new one")
    seals.check(folder / BUILD, "the run cannot be resumed; start a new one")


def _check_stage(deepspeed: str | None, folder: Path, results: Mapping[str, Any]) -> None:
    stage = zero_stage(deepspeed)
    then = results.get("zero_stage", stage)
    if stage == then:
        return
    if not stage or not then:
        raise InputError(
            f"--deepspeed {deepspeed}: is {_named(stage)}, but the run in {folder} was started {_named(then)}"
        )
    warnings.warn(f"{folder}: goes on {_named(stage)}; it was started {_named(then)}", Notice, stacklevel=4)


def _named(stage: int | None) -> str:
    return "without DeepSpeed" if stage is None else f"at ZeRO stage {stage}"
