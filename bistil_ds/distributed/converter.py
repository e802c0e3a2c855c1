"""Convert a DeepSpeed checkpoint to a universal form, from which any number of ranks resumes at ZeRO 1, 2 or 3.

    python -m bistil_ds.distributed.converter --input_folder CHECKPOINT/TAG --output_folder FOLDER

The flags are those of `deepspeed.checkpoint.ds_to_universal`. No code that the checkpoint holds is run, unless
`--in_full` is given. DeepSpeed's universal form of a ZeRO-3 checkpoint differs from that of ZeRO-1 and ZeRO-2, and each
is read at its own stages only; `fit_every_stage` adds what the others read.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from bistil_ds.distributed.weights_only import weights_only

IN_FULL = "--in_full"
OF_ZERO_3, OF_ZERO_2 = "zero_pp_rank_0_mp_rank_00_model_states.pt", "mp_rank_00_model_states.pt"
STATE = "optimizer_state.pt"  # the file of what all parameters share
INNER = "optimizer_state_dict"  # ZeRO-3's part of it
VALUE = "param"  # the key of a parameter's value or moment in its file


def main() -> None:
    """Convert the checkpoint that the flags name."""
    from deepspeed.checkpoint import ds_to_universal

    in_full = IN_FULL in sys.argv
    if in_full:
        sys.argv.remove(IN_FULL)
    multiprocessing.set_start_method("fork")  # the converter's workers must inherit the limit that `weights_only` sets
    with nullcontext() if in_full else weights_only():
        arguments = ds_to_universal.parse_arguments()
        ds_to_universal.main(arguments)
        fit_every_stage(Path(arguments.output_folder))


def fit_every_stage(folder: Path) -> None:
    """Add to a universal form what ZeRO 1 to 3 read from it: names of files, the step, shapes and groups."""
    zero = folder / "zero"
    state: dict[str, Any] = _load(zero / STATE)
    if (folder / OF_ZERO_3).exists():
        about = _load(folder / OF_ZERO_3)
        shutil.copy2(folder / OF_ZERO_3, folder / OF_ZERO_2)
        step = state[INNER]["state"][0]["step"]
        for shapes in about["param_shapes"]:
            for name, shape in shapes.items():
                for path in (zero / name).glob("*.pt"):
                    torch.save({VALUE: _load(path).view(shape)}, path)
                torch.save(step, zero / name / "step.pt")
        state["ds_version"] = about["ds_version"]
    else:
        shutil.copy2(folder / OF_ZERO_2, folder / OF_ZERO_3)
        step = _load(next(zero.glob("*/step.pt")))
    state[INNER] = {"state": {0: {"step": step}}, "param_groups": state["param_groups"]}
    torch.save(state, zero / STATE)


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=False)  # `main` may forbid code all the same


if __name__ == "__main__":
    main()
