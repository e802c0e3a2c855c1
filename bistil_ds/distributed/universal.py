"""Resume from a DeepSpeed checkpoint on another number of ranks or at another ZeRO stage, by its universal form."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bistil_ds.distributed.config import stage_of, whole_config
from bistil_ds.distributed.converter import IN_FULL, OF_ZERO_2, OF_ZERO_3, STATE
from bistil_ds.distributed.weights_only import weights_only_is_enough
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.files import write_whole
from bistil_ds.runs.seals import Seals, read_seal, write_seal

CONVERTER = "bistil_ds.distributed.converter"


def fit(checkpoint: Path, ranks: int, deepspeed: str | dict[str, Any], seals: Seals) -> bool:
    """Convert a whole DeepSpeed checkpoint if the run needs its universal form; return True in that case.

    Call it on one rank only.

    Args:
        ranks: how many ranks read the checkpoint.
        deepspeed: their DeepSpeed configuration, or its file.

    Raises:
        InputError: DeepSpeed cannot convert the checkpoint, or it holds code and is not signed by the user's key.
    """
    runs_no_code = weights_only_is_enough(checkpoint, seals)
    other = needs_universal(checkpoint, ranks, stage_of(deepspeed))
    if other:
        to_universal(checkpoint, seals, in_full=not runs_no_code)
    return other


def needs_universal(checkpoint: Path, ranks: int, stage: int) -> bool:
    """Return whether `ranks` ranks at a ZeRO stage can read a whole checkpoint only by its universal form.

    At ZeRO-0 nothing is divided among the ranks. ZeRO-1 and ZeRO-2 write the same files.
    """
    written = checkpoint / (checkpoints.universal_of(checkpoint) or "").removesuffix("_universal")
    of_zero_3 = (written / OF_ZERO_3).exists()
    return stage > 0 and (checkpoints.world_size_of(checkpoint) != ranks or of_zero_3 != (stage == 3))


def to_universal(checkpoint: Path, seals: Seals, *, in_full: bool) -> None:
    """Add the universal form to a whole checkpoint and seal it again; sign the seal only if the old seal was signed.

    Args:
        in_full: let DeepSpeed's files run what they hold; only for those that the user's key signed.
    """
    name = checkpoints.universal_of(checkpoint)
    if name is None:
        advice = "resume without it, on as many ranks as wrote it"
        raise InputError(f"{checkpoint}: was not written with DeepSpeed; {advice}")
    sealed = read_seal(checkpoint)["files"]
    found = checkpoints.LATEST_UNIVERSAL in sealed
    if found and {f"{name}/{one}" for one in (OF_ZERO_2, OF_ZERO_3)} <= set(sealed):
        return
    universal, partial, latest = (checkpoint / one for one in (name, f"{name}_partial", checkpoints.LATEST_UNIVERSAL))
    unsealed = checkpoints.of_a_conversion(name)
    if found:  # of an earlier version; a conversion that is killed must not leave it half sealed
        _seal(checkpoint, seals, left_out=unsealed)
    for left in unsealed:
        checkpoints.make_room(checkpoint / left)
    command = [sys.executable, "-m", CONVERTER, "--inject_missing_state", *([IN_FULL] if in_full else [])]
    command += ["--input_folder", str(checkpoint / name.removesuffix("_universal")), "--output_folder", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{checkpoint}: not converted for other ranks or another ZeRO stage: {done.stderr[-300:]}")
    os.replace(partial, universal)
    write_whole(latest, name)
    _seal(checkpoint, seals)


def _seal(checkpoint: Path, seals: Seals, left_out: Sequence[str] = ()) -> None:
    """Seal a sealed checkpoint again: entries stay as they are, and files without one get one unless left out."""
    old = read_seal(checkpoint)
    about = {name: value for name, value in old.items() if name not in ("files", "signature")}
    write = seals.write if seals.is_signed(checkpoint) else write_seal  # what was trusted once is not signed for others
    write(checkpoint, known=old["files"], left_out=left_out, **about)


def universal_config(
    deepspeed: str | dict[str, Any] | None, checkpoint: str | None, ranks: int
) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration that loads `checkpoint`'s universal form.

    Return None if the run needs none: it has no DeepSpeed file or no checkpoint, or reads the checkpoint as it is.
    """
    if not deepspeed or not checkpoint or not needs_universal(Path(checkpoint), ranks, stage_of(deepspeed)):
        return None
    config = copy.deepcopy(whole_config(deepspeed))
    config.setdefault("checkpoint", {})["load_universal"] = True
    return config


def mend_optimizer(engine: Any, checkpoint: Path) -> None:
    """Correct what DeepSpeed's engine makes of a universal form; do nothing if it has read none.

    At ZeRO-3 all states share one step counter, which AdamW would increase once for each of them in every step: give
    each its own. It is a number, and in torch's optimizers a tensor on the device where they would make it. All groups
    of parameters have the settings of the first there: give each its own weight decay again.

    Args:
        checkpoint: the checkpoint that was read.
    """
    if not engine.load_universal_checkpoint():
        return
    name = checkpoints.universal_of(checkpoint)
    groups = torch.load(checkpoint / str(name) / "zero" / STATE, map_location="cpu", weights_only=False)["param_groups"]
    optimizer = engine.optimizer.optimizer
    is_torch = type(optimizer).__module__.startswith("torch.")
    beside = any(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
    for parameter, state in optimizer.state.items():  # at ZeRO-3 the groups do not hold these parameters
        if "step" in state:
            step, device = float(state["step"]), parameter.device if beside else "cpu"
            state["step"] = torch.tensor(step, device=device) if is_torch else int(step)
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        group["weight_decay"] = saved["weight_decay"]
