"""Types that describe a case, one kernel at one size: the ways to compute it, its bytes and operations, its aims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

OURS, EAGER, COMPILED, LIGER, FUSED_ADAMW = "ours", "eager", "compiled", "liger", "fused_adamw"


@dataclass
class KernelCall:
    """One way of computing a case, such as ours or eager PyTorch's.

    `run` returns a loss as one tensor, or the results of an update as a sequence. For a loss, a call of this object
    runs forward and backward, and `leaves` are the tensors that get gradients.
    """

    run: Callable[[], Tensor | Sequence[Tensor]]
    leaves: Sequence[Tensor] = ()

    def __call__(self) -> list[Tensor]:
        """Return a list: the detached loss and its gradients at `leaves`, or the results of the update."""
        found = self.run()
        if isinstance(found, Tensor):
            return [found.detach(), *torch.autograd.grad(found, self.leaves)]
        return list(found)


@dataclass(frozen=True)
class Aim:
    """A ratio that a case should reach on an H200: at least `bound`, or, with `below`, less than `bound`.

    `of` names the ratio: "copy_bandwidth" or "roofline" (which share of that our way reaches), "memory" (our peak over
    eager's), or the name of another way (the time of that way over ours).
    """

    of: str
    bound: float
    below: bool = False

    def verdict(self, value: float | None) -> str:
        """Return a text such as `liger >= 1: 1.2, met`: the aim, the measured value, and whether it meets the aim."""
        wanted = f"{self.of} {'<' if self.below else '>='} {self.bound:g}"
        if value is None:
            return f"{wanted}: not measured"
        met = value < self.bound if self.below else value >= self.bound
        return f"{wanted}: {value:.3g}, {'met' if met else 'missed'}"


@dataclass(frozen=True)
class KernelCase:
    """One kernel at one size.

    Attributes:
        kernel: name of the public function and, where it has kinds, of the kind.
        build: draws the tensors on the device and returns name of a way → call; a text in place of a call says why
            that way is missing.
        bytes_moved: bytes that our way reads and writes, forward and backward; None where they are not counted.
        bytes_model: formula of `bytes_moved`.
        operations: operations of our way's matrix products, two for each multiply-add.
        compared: whether the first call of each other way, fused AdamW excepted, must return the tensors that ours
            returns, within a tolerance.
        compiles: whether `torch.compile` of the eager way is measured where the user asks for it.
    """

    kernel: str
    size: str
    dtype: torch.dtype
    build: Callable[[], Mapping[str, KernelCall | str]]
    bytes_moved: float | None
    bytes_model: str
    operations: float = 0.0
    aims: Sequence[Aim] = field(default=())
    compared: bool = True
    compiles: bool = True
