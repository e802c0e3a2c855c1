"""Triton kernels that read the tensors for `top_k_delta`; each serves all pairs of the same dtypes in one launch.

Both tensors of each pair are read six times: for four histograms, to count, and to collect. For K chosen entries,
4·K bytes of indices are written, or 8·K if a tensor has 2³¹ entries or more.
"""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments are Triton values, which have no types in Python)

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import triton
import triton.language as tl
from torch import Tensor

from bistil_kernels.runtime.pairs import device_of
from bistil_kernels.runtime.table import Table, owner, pointer, read, span, to_device, triton_dtype
from bistil_kernels.sparse.types import Pairs, index_dtype

READING = {"BLOCK": 4096, "num_warps": 8}
PROGRAMS = 1056  # most in a launch: 8 for each of an H100's 132 SMs; a program keeps a histogram in registers


@triton.jit
def _keys(table, P, one, i, exists, AFTER: tl.constexpr, BEFORE: tl.constexpr, ALIGNED: tl.constexpr):
    """Return the fp32 bits of |after − before| as integers; their order is that of the differences."""
    after = read(pointer(table, P, 0, one, AFTER, ALIGNED) + i, exists, 0.0).to(tl.float32)
    before = read(pointer(table, P, 1, one, BEFORE, ALIGNED) + i, exists, 0.0).to(tl.float32)
    return tl.abs(after - before).to(tl.int32, bitcast=True)


@triton.jit
def _block_keys(table, P, one, block, AFTER: tl.constexpr, BEFORE: tl.constexpr, ALIGNED: tl.constexpr,
                BLOCK: tl.constexpr):  # fmt: skip
    """Return a block's entries (int64 [BLOCK]), their keys, and which of them exist."""
    first, size = span(table, P, one, block, BLOCK)
    i = first + tl.arange(0, BLOCK)
    if first + BLOCK <= size:
        keys = _keys(table, P, one, i, None, AFTER, BEFORE, ALIGNED)
    else:
        keys = _keys(table, P, one, i, i < size, AFTER, BEFORE, ALIGNED)
    return i, keys, i < size


@triton.jit
def count_digits(
    table, P, counts, blocks, prefix, shift, BITS: tl.constexpr, FIRST: tl.constexpr,
    AFTER: tl.constexpr, BEFORE: tl.constexpr, STEPS: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add to `counts` (int64 [2^BITS]) how often each digit occurs in the keys whose higher bits are `prefix`.

    A digit is the BITS bits of a key from bit `shift` on. With FIRST all keys count. The counts are integers, so the
    order of the additions does not matter.
    """
    histogram = tl.zeros([1 << BITS], tl.int32)
    for block in range(tl.program_id(0), blocks, tl.num_programs(0)):
        one = owner(table, P, block, STEPS)
        _, keys, counted = _block_keys(table, P, one, block, AFTER, BEFORE, ALIGNED, BLOCK)
        if not FIRST:
            counted = counted & ((keys >> (shift + BITS)) == prefix)
        histogram += tl.histogram((keys >> shift) & ((1 << BITS) - 1), 1 << BITS, mask=counted)
    tl.atomic_add(counts + tl.arange(0, 1 << BITS), histogram.to(tl.int64), sem="relaxed")


@triton.jit
def count_blocks(
    table, P, greater, equal, key,
    AFTER: tl.constexpr, BEFORE: tl.constexpr, STEPS: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write for each block how many keys are greater than `key`, and how many equal it: int64 [blocks] each."""
    block = tl.program_id(0).to(tl.int64)
    one = owner(table, P, block, STEPS)
    _, keys, exists = _block_keys(table, P, one, block, AFTER, BEFORE, ALIGNED, BLOCK)
    tl.store(greater + block, tl.sum((exists & (keys > key)).to(tl.int32)).to(tl.int64))
    tl.store(equal + block, tl.sum((exists & (keys == key)).to(tl.int32)).to(tl.int64))


@triton.jit
def collect_chosen(
    table, P, chosen, places, quotas, key,
    AFTER: tl.constexpr, BEFORE: tl.constexpr, STEPS: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the indices of each block's chosen keys to `chosen`, from `places[block]` on.

    All keys greater than `key` are chosen, and the first `quotas[block]` of the block's keys that equal `key`.
    """
    block = tl.program_id(0).to(tl.int64)
    one = owner(table, P, block, STEPS)
    i, keys, exists = _block_keys(table, P, one, block, AFTER, BEFORE, ALIGNED, BLOCK)
    is_equal = (exists & (keys == key)).to(tl.int32)
    taken = (tl.cumsum(is_equal) <= tl.load(quotas + block)) & (is_equal != 0)
    is_chosen = (exists & (keys > key)) | taken
    place = tl.load(places + block) + tl.cumsum(is_chosen.to(tl.int32)) - 1
    tl.store(chosen + place, i.to(chosen.dtype.element_ty), mask=is_chosen)


class _Group:
    """Pairs that share a launch: their indices among all pairs, their table and the kernels' constants."""

    def __init__(self, numbers: list[int], after: list[Tensor], before: list[Tensor]) -> None:
        self.numbers = numbers
        self.table = Table([x.numel() for x in after], [after, before], READING["BLOCK"])
        self.constants = {
            "AFTER": triton_dtype(after[0].dtype),
            "BEFORE": triton_dtype(before[0].dtype),
            **self.table.constants,
            **READING,
        }
        self.greater = self.equal = self.table.tensor.new_empty(0)


class Worker:
    """Reader of the tensors (`_Worker` of `top_k.reference`) in Triton: on CUDA, or on a CPU under the interpreter."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = [tuple(x.detach().reshape(-1) for x in pair) for pair in pairs]
        self.device = pairs[0][0].device
        numbers: dict[object, list[int]] = {}
        for n, (after, before) in enumerate(self.pairs):
            if after.device != self.device:
                raise ValueError(f"top_k_delta: pairs are on {self.device} and {after.device}")
            if len(after):
                numbers.setdefault((after.dtype, before.dtype), []).append(n)
        self.groups = [_Group(x, *([self.pairs[n][i] for n in x] for i in (0, 1))) for x in numbers.values()]

    def histogram(self, prefix: int, shift: int, bits: int) -> Tensor:
        counts = torch.zeros(1 << bits, dtype=torch.int64, device=self.device)
        for group in self.groups:
            table = group.table
            settings = {"BITS": bits, "FIRST": shift + bits == 31, **group.constants}
            with device_of(counts):
                programs = (min(table.blocks, PROGRAMS),)
                count_digits[programs](table.tensor, table.P, counts, table.blocks, prefix, shift, **settings)
        return counts

    def count_equal(self, key: int) -> Tensor:
        totals = torch.zeros(len(self.pairs), dtype=torch.int64, device=self.device)
        for group in self.groups:
            table = group.table
            group.greater, group.equal = torch.empty(2, table.blocks, dtype=torch.int64, device=self.device)
            with device_of(totals):
                launch = count_blocks[(table.blocks,)]
                launch(table.tensor, table.P, group.greater, group.equal, key, **group.constants)
            totals[to_device(group.numbers, self.device)] = _sums(group.equal, table.first)
        return totals

    def collect(self, key: int, quotas: list[int]) -> list[Tensor]:
        narrow = index_dtype(max((len(x) for x, _ in self.pairs), default=0))
        found = [torch.empty(0, dtype=index_dtype(len(x)), device=self.device) for x, _ in self.pairs]
        for group in self.groups:
            table, first = group.table, group.table.first
            earlier = group.equal.cumsum(0) - group.equal
            blocks_P = to_device([b - a for a, b in pairwise(first)], self.device)
            quotas_P = to_device([quotas[n] for n in group.numbers], self.device)
            firsts_P = to_device(first[:-1], self.device)
            left_P = quotas_P + earlier[firsts_P]  # counted from the first block of the launch, as `earlier` is
            quota = (left_P.repeat_interleave(blocks_P, output_size=table.blocks) - earlier).clamp(min=0)
            counts = group.greater + torch.minimum(quota, group.equal)
            sizes = _sums(counts, first).tolist()
            chosen = torch.empty(sum(sizes), dtype=narrow, device=self.device)
            with device_of(chosen):
                launch = collect_chosen[(table.blocks,)]
                launch(table.tensor, table.P, chosen, counts.cumsum(0) - counts, quota, key, **group.constants)
            for n, part in zip(group.numbers, chosen.split(sizes)):
                found[n] = part.to(found[n].dtype)
        return found


def _sums(x_blocks: Tensor, first: Sequence[int]) -> Tensor:
    """Return for each tensor the sum over its blocks; `first` holds each tensor's first block, then the block count."""
    up_to = torch.cat([x_blocks.new_zeros(1), x_blocks.cumsum(0)])
    bounds = to_device(first, x_blocks.device)
    return up_to[bounds[1:]] - up_to[bounds[:-1]]
