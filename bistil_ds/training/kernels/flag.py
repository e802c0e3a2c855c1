"""The flag `--kernels` of training commands and benchmarks: its definition and its check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bistil_kernels.runtime import choice
from bistil_kernels.runtime.choice import CHOICES, VARIABLE

from bistil_ds.errors import InputError

HELP = f"What computes the losses on a GPU; default: ${VARIABLE}, else auto."


def kernels_field() -> Any:
    """Return the field of a flags dataclass that defines `--kernels`."""
    return field(default=None, metadata={"help": HELP, "choices": list(CHOICES)})


@dataclass(frozen=True)
class KernelFlags:
    """The flag on its own, for commands that have it beside their other flags."""

    kernels: str | None = kernels_field()


def chosen_kernels(flag: str | None, *, on_gpu: bool) -> str:
    """Return the choice that the flag makes; without the flag, the choice that holds in this process.

    Args:
        flag: value of `--kernels`, or None.
        on_gpu: whether the losses and updates will run on a GPU.

    Raises:
        InputError: there is no such choice; or it is "triton", and there is no GPU or no Triton.
    """
    try:
        chosen = choice.checked(flag) if flag else choice.chosen()
    except (ValueError, ImportError) as error:
        raise InputError(f"{_named(flag)}: {str(error).removeprefix('bistil_kernels: ')}") from None
    if chosen == "triton" and not on_gpu:
        raise InputError(f"{_named(flag)}: Triton's kernels need a GPU; leave it out, or give torch")
    return chosen


def _named(flag: str | None) -> str:
    return f"--kernels {flag}" if flag else f"{VARIABLE} (or bistil_kernels.use)"
