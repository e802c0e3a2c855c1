"""One kernel at one size: what is run, what it must move and compute, and what it should reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

OURS, EAGER, COMPILED, LIGER, FUSED_ADAMW = "ours", "eager", "compiled", "liger", "fused_adamw"


@dataclass
class KernelCall:
    """One way of computing a case: `run` returns a loss, or the results of an update.

    A call of a loss is a forward and a backward pass: it returns the loss and its gradients at `leaves`.
    """

    run: Callable[[], Tensor | Sequence[Tensor]]
    leaves: Sequence[Tensor] = ()

    def __call__(self) -> list[Tensor]:
        """Return the loss, detached, and its gradients, or the results of the update."""
        found = self.run()
        if isinstance(found, Tensor):
            return [found.detach(), *torch.autograd.grad(found, self.leaves)]
        return list(found)


@dataclass(frozen=True)
class Aim:
    """What a case should reach on an H200: at least `bound`, or less than it where `below`.

    `of` is "copy_bandwidth" or "roofline" (our share of it), "memory" (our peak over eager's), or the name of another
    way (its time over ours).
    """

    of: str
    bound: float
    below: bool = False

    def verdict(self, value: float | None) -> str:
        """Return in words what is aimed at, what was measured, and whether it is met."""
        wanted = f"{self.of} {'<' if self.below else '>='} {self.bound:g}"
        if value is None:
            return f"{wanted}: not measured"
        met = value < self.bound if self.below else value >= self.bound
        return f"{wanted}: {value:.3g}, {'met' if met else 'missed'}"


@dataclass(frozen=True)
class KernelCase:
    """One kernel at one size.

    Attributes:
        kernel: name of the public function, and its kind.
        build: makes the tensors on the device and every way of using them; a text in place of a way says why there is
            none.
        bytes_moved: bytes that ours reads and writes, forward and backward; None where they are not counted.
        bytes_model: formula of these bytes.
        operations: operations of ours, two for each multiply-add.
        compared: whether every way but fused AdamW must return the same tensors as ours in a first call.
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
