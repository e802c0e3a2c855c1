"""Choose what serves a run's losses and sparse updates, after a self-check of the kernels on the run's device."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import torch
from bistil_kernels.runtime.choice import switched_off, using
from bistil_kernels.self_check import failing_families
from transformers import TrainingArguments

from bistil_ds.distributed import startup
from bistil_ds.errors import Notice
from bistil_ds.training.kernels.flag import chosen_kernels

SHORT_REASON = 100  # characters of a reason in the warning; run.json has the whole reason


@dataclass(frozen=True)
class KernelChoice:
    """What serves the losses and sparse updates of a run.

    Attributes:
        choice: "auto", "triton" or "torch".
        device: the name of the run's GPU, or "cpu".
        checked: the dtype in which the kernels were checked; None if they were not.
        failed: family → reason, for families that failed the check on some rank; PyTorch serves them.
    """

    choice: str
    device: str
    checked: str | None = None
    failed: Mapping[str, str] = field(default_factory=dict)

    def serving(self) -> AbstractContextManager[None]:
        """Return a context in which losses and updates are served as chosen."""
        return using(self.choice, {*self.failed, *switched_off()})

    def as_record(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the choice in Markdown: a line, and one for each family that failed."""
        check = f", checked in {self.checked}: {'failed' if self.failed else 'all work'}" if self.checked else ""
        lines = [f"{self.choice} on {self.device}{check}"]
        return "\n\n".join([*lines, *(f"PyTorch for {name}: {reason}" for name, reason in self.failed.items())])


def choose_kernels(args: TrainingArguments) -> KernelChoice:
    """Return what serves a run with these arguments; every rank calls this.

    Under "auto" on a GPU, every family of kernels is checked in the run's dtype, once in a process. PyTorch serves a
    family, on all ranks, that failed on one; rank 0 warns of it. On a CPU nothing is checked.

    Raises:
        InputError: see `chosen_kernels`.
    """
    device, flag = args.device, getattr(args, "kernels", None)
    on_gpu = device.type == "cuda"
    choice = chosen_kernels(flag, on_gpu=on_gpu)
    if not on_gpu:
        return KernelChoice(choice, device.type)
    name = torch.cuda.get_device_name(device)
    if choice != "auto":
        return KernelChoice(choice, name)
    dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
    of_ranks = startup.from_every_rank(_failing(device, dtype))
    failed = {family: reason for of_rank in reversed(of_ranks) for family, reason in of_rank.items()}
    chosen = KernelChoice(choice, name, str(dtype).removeprefix("torch."), failed)
    if failed and startup.rank() == 0:
        _warn(_warning(chosen))
    return chosen


@cache
def _failing(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    return failing_families(device, dtype)


def _warning(chosen: KernelChoice) -> str:
    reasons = "; ".join(f"{name} ({reason[:SHORT_REASON]})" for name, reason in chosen.failed.items())
    return (
        f"Triton kernels failed their check in {chosen.checked} on {chosen.device}, and PyTorch takes their place, "
        f"which needs more time and memory: {reasons}. To report it, open an issue with the run's run.json, where "
        "results.kernels, versions and hardware stand; --kernels torch leaves the check out"
    )


@cache  # several trainers of a process have the same outcome
def _warn(text: str) -> None:
    warnings.warn(text, Notice, stacklevel=3)
