"""Convert a checkpoint to DeepSpeed's universal form, from which any number of ranks can resume."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from bistil_ds.distributed.config import read_config
from bistil_ds.distributed.weights_only import weights_only_is_enough
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.files import write_whole
from bistil_ds.runs.seals import Seals, read_seal, write_seal

OWN, DEEPSPEED = "bistil_ds.distributed.converter", "deepspeed.checkpoint.ds_to_universal"  # OWN runs no code


def fit_to_ranks(checkpoint: Path, ranks: int, seals: Seals) -> bool:
    """Convert a whole DeepSpeed checkpoint if another number of ranks wrote it; return True in that case.

    Call it on one rank only.

    Raises:
        InputError: DeepSpeed cannot convert the checkpoint, or it holds code and is not signed by the user's key.
    """
    runs_no_code = weights_only_is_enough(checkpoint, seals)
    other = checkpoints.world_size_of(checkpoint) != ranks
    if other:
        to_universal(checkpoint, seals, OWN if runs_no_code else DEEPSPEED)
    return other


def to_universal(checkpoint: Path, seals: Seals, converter: str) -> None:
    """Add the universal form to a whole checkpoint and seal it again; sign the seal only if the old seal was signed."""
    name = checkpoints.universal_of(checkpoint)
    if name is None:
        raise InputError(f"{checkpoint}: was not written with DeepSpeed, so only as many ranks as wrote it can resume")
    sealed = read_seal(checkpoint)["files"]
    if checkpoints.LATEST_UNIVERSAL in sealed and any(file.startswith(f"{name}/") for file in sealed):
        return
    universal, partial, latest = (checkpoint / one for one in (name, f"{name}_partial", checkpoints.LATEST_UNIVERSAL))
    of_0_1 = checkpoint / f"{name.removesuffix('_universal')}_partial"
    for left in (universal, partial, latest, of_0_1):  # left by a conversion that was killed
        checkpoints.make_room(left)
    command = [sys.executable, "-m", converter, "--inject_missing_state"]
    command += ["--input_folder", str(checkpoint / name.removesuffix("_universal")), "--output_folder", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{checkpoint}: could not be converted for another number of ranks: {done.stderr[-300:]}")
    os.replace(partial, universal)
    write_whole(latest, name)
    about = {name: value for name, value in read_seal(checkpoint).items() if name not in ("files", "signature")}
    if seals.is_signed(checkpoint):
        seals.write(checkpoint, sealed, **about)
    else:  # the user may have trusted somebody else's checkpoint for this run only: do not sign it for them
        write_seal(checkpoint, known=sealed, **about)


def universal_config(
    deepspeed: str | dict[str, Any] | None, checkpoint: str | None, ranks: int
) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration that loads `checkpoint`'s universal form.

    Return None if the run needs none: it has no DeepSpeed file, no checkpoint, or as many ranks as the checkpoint.
    """
    if not deepspeed or not checkpoint or checkpoints.world_size_of(Path(checkpoint)) == ranks:
        return None
    config = copy.deepcopy(deepspeed) if isinstance(deepspeed, dict) else read_config(Path(deepspeed))
    config.setdefault("checkpoint", {})["load_universal"] = True
    return config


def own_step_counts(optimizer: Any) -> None:
    """Give each state in the optimizer a step counter of its own.

    When DeepSpeed loads a universal checkpoint at ZeRO-3, all states share one counter. AdamW would then increase the
    counter once for each state in every step.
    """
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].clone()
