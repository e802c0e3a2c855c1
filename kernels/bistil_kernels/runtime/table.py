"""One launch over many tensors of very different sizes, by a table of their pointers on the device.

The table is int64 [rows, P]: the first block of each tensor, its size, then its pointers. P tensors.

What is read and written in order moves 16 bytes a thread at a time. For that the compiler must know that pointers are
multiples of 16 (ALIGNED, which the table finds out) and that no mask cuts a block: so blocks that lie whole inside
their tensor are worked on without one.
"""

# mypy: disable-error-code="no-untyped-def"
# (kernels: their arguments are Triton values)

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def owner(table, P, block, STEPS: tl.constexpr):
    """The tensor that `block` belongs to: the last one whose first block is not beyond it. 2^STEPS > P."""
    low, high = block * 0, block * 0 + P
    for _ in tl.static_range(STEPS):
        middle = (low + high) // 2
        is_here = tl.load(table + middle) <= block
        low = tl.where(is_here, middle, low)
        high = tl.where(is_here, high, middle)
    return low


@triton.jit
def pointer(table, P, row, one, DTYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """The pointer to the first entry of tensor `one` that the table's `row` of pointers holds."""
    found = tl.load(table + (row + 2) * P + one).to(tl.pointer_type(DTYPE))
    if ALIGNED:
        found = tl.multiple_of(found, 16)
    return found


@triton.jit
def span(table, P, one, block, BLOCK: tl.constexpr):
    """The first entry of tensor `one` that this `block` has (int64), and the tensor's size."""
    return (block - tl.load(table + one)) * BLOCK, tl.load(table + P + one)


@triton.jit
def read(at, exists, other: tl.constexpr):
    """What is at these pointers; `exists` is None where all may be read."""
    if exists is None:
        return tl.load(at)
    else:
        return tl.load(at, mask=exists, other=other)


class Table:
    """A launch's table and grid.

    Args:
        sizes: entries of each tensor.
        columns: for each row of pointers the P tensors, contiguous, which must outlive the launch.
        block: entries a program (or an iteration of one) works on.
        scattered: columns that are not read in order, whose alignment does not matter.
    """

    def __init__(
        self, sizes: Sequence[int], columns: Sequence[Sequence[Tensor]], block: int, scattered: Sequence[int] = ()
    ) -> None:
        first = [0]
        for size in sizes:
            first.append(first[-1] - (-size // block))
        addresses = [list(map(Tensor.data_ptr, column)) for column in columns]
        self.first, self.blocks = first, first[-1]
        self.P = len(sizes)
        self._aligned = [n in scattered or _are_aligned(column) for n, column in enumerate(addresses)]
        self._scattered = scattered
        self.tensor = to_device([first[:-1], list(sizes), *addresses], columns[0][0].device)

    @property
    def constants(self) -> dict[str, Any]:
        """What kernels compile for."""
        return {"STEPS": self.P.bit_length(), "ALIGNED": all(self._aligned)}

    def replace(self, column: int, addresses: Sequence[int]) -> None:
        """The tensors of one column are others now: the launches to come read those."""
        self._aligned[column] = column in self._scattered or _are_aligned(addresses)
        self.tensor[column + 2].copy_(_on_host(addresses, self.tensor.device), non_blocking=True)


def _are_aligned(addresses: Sequence[int]) -> bool:
    return reduce(or_, addresses, 0) % 16 == 0


def to_device(numbers: Sequence[object], device: torch.device) -> Tensor:
    """An int64 tensor there, by a copy that nobody waits for."""
    return _on_host(numbers, device).to(device, non_blocking=True)


def _on_host(numbers: Sequence[object], device: torch.device) -> Tensor:
    """An int64 tensor from where copies to the device wait for nobody."""
    host = torch.tensor(numbers, dtype=torch.int64, device="cpu")  # whatever the default device is
    return host.pin_memory() if device.type == "cuda" else host


def triton_dtype(dtype: torch.dtype) -> tl.dtype:
    """Triton's name of a torch dtype."""
    return getattr(tl, str(dtype).removeprefix("torch."))
