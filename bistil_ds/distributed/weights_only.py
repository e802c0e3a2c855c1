"""Read DeepSpeed's checkpoints without running code: only tensors, plain values and a few classes of DeepSpeed.

DeepSpeed itself asks `torch.load` for full unpickling, which calls any function that a file names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bistil_ds.errors import InputError
from bistil_ds.runs.seals import Seals

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # while it is set, torch.load ignores `weights_only=False`


def _classes() -> list[Any]:
    """Return the classes whose objects DeepSpeed saves; unpickling can only call constructors, which do no harm."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]


@contextmanager
def weights_only() -> Iterator[None]:
    """Let `torch.load` make only tensors, plain values and objects of `_classes`, even if DeepSpeed asks for more."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = "1"
    try:
        with torch.serialization.safe_globals(_classes()):
            yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def weights_only_is_enough(checkpoint: Path, seals: Seals) -> bool:
    """Return whether `weights_only` can read the files that DeepSpeed wrote to `checkpoint`, a sealed folder.

    Raises:
        InputError: `weights_only` cannot read them, and full unpickling is refused, because the user's key did not sign
            the checkpoint.
    """
    with torch.serialization.safe_globals(_classes()):
        found = {path: _names(path) for path in sorted(checkpoint.glob("*/**/*.pt"))}
    others = {path: names for path, names in found.items() if names}
    if others and not seals.is_signed(checkpoint):
        path, names = next(iter(others.items()))
        raise InputError(f"{path}: wants to run {names[0]} when it is read; not signed with your key, so never read")
    return not others


def _names(path: Path) -> list[str]:
    """Return the functions and classes that `weights_only` would refuse in a file.

    If the file cannot be examined, the word "code" stands for them.
    """
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # a damaged file can raise an error of any type here
        return ["code"]
