"""`gather_at` and `swap_in` as Triton kernels: a launch serves all tensors of one element size and index dtype."""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments are Triton values, which have no types in Python)

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from bistil_kernels.runtime.dispatch import is_direct
from bistil_kernels.runtime.pairs import device_of
from bistil_kernels.runtime.table import Table, owner, pointer, read, span, triton_dtype
from bistil_kernels.sparse.types import BITS

MOVING = {"BLOCK": 1024, "num_warps": 4}


@triton.jit
def _gather_block(table, P, one, i, exists, BITS: tl.constexpr, INDEX: tl.constexpr, ALIGNED: tl.constexpr):
    where = read(pointer(table, P, 1, one, INDEX, ALIGNED) + i, exists, 0)
    found = read(pointer(table, P, 0, one, BITS, False) + where, exists, 0)
    tl.store(pointer(table, P, 2, one, BITS, ALIGNED) + i, found, mask=exists)


@triton.jit
def gather_entries(
    table, P, BITS: tl.constexpr, INDEX: tl.constexpr, STEPS: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr
):
    """Read entries. Table rows: tensors, indices, found values."""
    block = tl.program_id(0).to(tl.int64)
    one = owner(table, P, block, STEPS)
    first, size = span(table, P, one, block, BLOCK)
    i = first + tl.arange(0, BLOCK)
    if first + BLOCK <= size:
        _gather_block(table, P, one, i, None, BITS, INDEX, ALIGNED)
    else:
        _gather_block(table, P, one, i, i < size, BITS, INDEX, ALIGNED)


@triton.jit
def _swap_block(table, P, one, i, exists, BITS: tl.constexpr, INDEX: tl.constexpr, ALIGNED: tl.constexpr):
    where = read(pointer(table, P, 1, one, INDEX, ALIGNED) + i, exists, 0)
    weight = pointer(table, P, 0, one, BITS, False) + where
    old = read(weight, exists, 0)
    tl.store(weight, read(pointer(table, P, 2, one, BITS, ALIGNED) + i, exists, 0), mask=exists)
    tl.store(pointer(table, P, 3, one, BITS, ALIGNED) + i, old, mask=exists)


@triton.jit
def swap_entries(
    table, P, BITS: tl.constexpr, INDEX: tl.constexpr, STEPS: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr
):
    """Exchange entries for new values. Table rows: weights, indices, new values, old values."""
    block = tl.program_id(0).to(tl.int64)
    one = owner(table, P, block, STEPS)
    first, size = span(table, P, one, block, BLOCK)
    i = first + tl.arange(0, BLOCK)
    if first + BLOCK <= size:
        _swap_block(table, P, one, i, None, BITS, INDEX, ALIGNED)
    else:
        _swap_block(table, P, one, i, i < size, BITS, INDEX, ALIGNED)


def gather_at(tensors: Sequence[Tensor], indices: Sequence[Tensor]) -> list[Tensor]:
    """Do `bistil_kernels.gather_at` with checked tensors on a CUDA device, or on a CPU under Triton's interpreter."""
    if is_direct([*tensors, *indices]):
        return _gather(tensors, indices)
    return torch.ops.bistil_kernels.gather_at([x.detach() for x in tensors], indices)


def swap_in(weights: Sequence[Tensor], indices: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """Do `bistil_kernels.swap_in` with checked tensors on a CUDA device, or on a CPU under Triton's interpreter."""
    with torch.no_grad():
        old = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in values]
        if is_direct([*weights, *indices, *values]):
            _swap(weights, indices, values, old)
            torch.autograd.graph.increment_version(weights)  # tells autograd of the change, as the operator does
        else:
            weights, values = [x.detach() for x in weights], [x.detach() for x in values]
            torch.ops.bistil_kernels.swap_in(weights, indices, values, old)
    return old


def _gather(tensors: Sequence[Tensor], indices: Sequence[Tensor]) -> list[Tensor]:
    found = [
        torch.empty_like(i, dtype=x.dtype, memory_format=torch.contiguous_format) for x, i in zip(tensors, indices)
    ]
    for n in _strided(tensors):  # our kernels need contiguous tensors; torch.take does not
        found[n] = torch.take(tensors[n].detach(), indices[n].long())
    indices = [x.contiguous() for x in indices]
    for group in _groups(tensors, indices):
        _launch(gather_entries, group, [tensors, indices, found])
    return found


_gather_operator = torch.library.custom_op(
    "bistil_kernels::gather_at", _gather, mutates_args=(), schema="(Tensor[] tensors, Tensor[] indices) -> Tensor[]"
)


@_gather_operator.register_fake
def _(tensors, indices):
    return [x.new_empty(i.shape) for x, i in zip(tensors, indices)]


def _swap(
    weights: Sequence[Tensor], indices: Sequence[Tensor], values: Sequence[Tensor], old: Sequence[Tensor]
) -> None:
    for n in _strided(weights):
        old[n].copy_(torch.take(weights[n], indices[n].long()))
        weights[n].put_(indices[n].long(), values[n])
    indices, values = [x.contiguous() for x in indices], [x.contiguous() for x in values]
    for group in _groups(weights, indices):
        _launch(swap_entries, group, [weights, indices, values, old])


torch.library.custom_op(
    "bistil_kernels::swap_in",
    _swap,
    mutates_args=("weights", "old"),
    # Old values go into an argument, because an operator that returns a list must not change its arguments.
    schema="(Tensor(a!)[] weights, Tensor[] indices, Tensor[] values, Tensor(b!)[] old) -> ()",
)


def _strided(tensors: Sequence[Tensor]) -> list[int]:
    return [n for n, x in enumerate(tensors) if not x.is_contiguous()]


def _groups(tensors: Sequence[Tensor], indices: Sequence[Tensor]) -> list[list[int]]:
    """Return for each launch the positions of its tensors in `tensors`.

    The tensors of a launch are contiguous and share a device, an element size and an index dtype. Tensors with no index
    to read or write are left out, and so are tensors that are not contiguous.
    """
    groups: dict[object, list[int]] = {}
    for n, (x, index) in enumerate(zip(tensors, indices)):
        if x.is_contiguous() and index.numel():
            groups.setdefault((x.device, x.element_size(), index.dtype), []).append(n)
    return list(groups.values())


def _launch(kernel: object, group: list[int], columns: Sequence[Sequence[Tensor]]) -> None:
    picked = [[column[n] for n in group] for column in columns]
    table = Table([x.numel() for x in picked[1]], picked, MOVING["BLOCK"], scattered=(0,))
    with device_of(picked[0][0]):
        kernel[(table.blocks,)](  # type: ignore[index]
            table.tensor,
            table.P,
            BITS=triton_dtype(BITS[picked[0][0].element_size()]),
            INDEX=triton_dtype(picked[1][0].dtype),
            **table.constants,
            **MOVING,
        )
