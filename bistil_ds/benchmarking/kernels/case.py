"""Types that describe a case (one kernel at one size): the ways to compute it, its bytes, operations and aims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

OURS, EAGER, COMPILED, LIGER, FUSED_ADAMW = "ours", "eager", "compiled", "liger", "fused_adamw"


@dataclass
class KernelCall:
    """One way of computing a case, such as ours or eager PyTorch's.

    `run` returns a loss as one tensor, or the results of an update as a sequence. If it is a loss, calling this object
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
    """A ratio that a case should reach on an H200: at least `bound` or, if `below` is set, less than `bound`.

    `of` says which ratio: "copy_bandwidth" and "roofline" are the shares of these rates that our way reaches, "memory"
    is our peak divided by eager's, and the name of another way is that way's time divided by ours.
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
        kernel: name of the public function, followed by the kind if it has kinds.
        build: draws the tensors on the device; returns name of a way → call, or a text that says why that way is
            missing.
        bytes_moved: bytes that our way reads and writes, forward and backward; None if they are not counted.
        bytes_model: formula of `bytes_moved`.
        operations: operations of our way's matrix products, two for each multiply-add.
        compared: whether the results of the other ways, except fused AdamW, are compared with ours; `status` then says
            whether they agree within a tolerance.
        compiles: whether `torch.compile` of the eager way is measured too if the user asks for it.
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
