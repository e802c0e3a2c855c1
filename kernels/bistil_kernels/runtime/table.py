"""Serve many tensors of very different sizes in one launch, by a table of their pointers on the device.

The blocks of all tensors are numbered in one sequence, and each program serves one block. The table is int64 [rows, P]
for P tensors. Row 0 has the number of each tensor's first block, row 1 each tensor's size in entries, and every further
row a pointer for each tensor.

A thread that reads or writes entries in order can move 16 bytes at a time. The compiler makes use of this only if it
knows two things: that the pointers are multiples of 16 (ALIGNED, which `Table` finds out), and that no mask hides a
part of the block. So a kernel uses a mask only in a block that reaches beyond the end of its tensor.
"""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments are Triton values, which have no types in Python)

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
    """Return the number of the tensor that `block` belongs to: the last tensor that starts at or before `block`.

    A bisection finds it in STEPS steps; 2^STEPS must be greater than P.
    """
    low, high = block * 0, block * 0 + P
    for _ in tl.static_range(STEPS):
        middle = (low + high) // 2
        is_here = tl.load(table + middle) <= block
        low = tl.where(is_here, middle, low)
        high = tl.where(is_here, high, middle)
    return low


@triton.jit
def pointer(table, P, row, one, DTYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """Return the pointer of tensor number `one` in row `row` of pointers; row 0 of pointers is row 2 of the table."""
    found = tl.load(table + (row + 2) * P + one).to(tl.pointer_type(DTYPE))
    if ALIGNED:
        found = tl.multiple_of(found, 16)
    return found


@triton.jit
def span(table, P, one, block, BLOCK: tl.constexpr):
    """Return the index of this block's first entry within tensor `one` (int64), and the tensor's size in entries."""
    return (block - tl.load(table + one)) * BLOCK, tl.load(table + P + one)


@triton.jit
def read(at, exists, other: tl.constexpr):
    """Load from the pointers `at`; return `other` where `exists` is False. If `exists` is None, all may be read."""
    if exists is None:
        return tl.load(at)
    else:
        return tl.load(at, mask=exists, other=other)


class Table:
    """Table of pointers for a launch. Its attribute `blocks`, the number of blocks, is the grid of the launch.

    Args:
        sizes: number of entries of each tensor.
        columns: for each row of pointers, the P tensors to point to. They must be contiguous and outlive the launch.
        block: number of entries in a block.
        scattered: numbers of the columns that are not read or written in order; their alignment does not matter.
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
        """Return the constexprs STEPS and ALIGNED of kernels that read this table."""
        return {"STEPS": self.P.bit_length(), "ALIGNED": all(self._aligned)}

    def replace(self, column: int, addresses: Sequence[int]) -> None:
        """Replace the pointers of one column; later launches find its tensors at the new addresses."""
        self._aligned[column] = column in self._scattered or _are_aligned(addresses)
        self.tensor[column + 2].copy_(_on_host(addresses, self.tensor.device), non_blocking=True)


def _are_aligned(addresses: Sequence[int]) -> bool:
    return reduce(or_, addresses, 0) % 16 == 0


def to_device(numbers: Sequence[object], device: torch.device) -> Tensor:
    """Copy `numbers` to an int64 tensor on the device, without waiting for the copy."""
    return _on_host(numbers, device).to(device, non_blocking=True)


def _on_host(numbers: Sequence[object], device: torch.device) -> Tensor:
    """Return an int64 tensor on the host, pinned for a CUDA device, so that copies to it do not block."""
    host = torch.tensor(numbers, dtype=torch.int64, device="cpu")  # else torch's default device, which may be a GPU
    return host.pin_memory() if device.type == "cuda" else host


def triton_dtype(dtype: torch.dtype) -> tl.dtype:
    """Return Triton's dtype for a torch dtype."""
    return getattr(tl, str(dtype).removeprefix("torch."))
