"""Choose the K entries that moved most, over many tensors.

Lottery-ticket sparse fine-tuning (LT-SFT, arXiv 2110.07560) chooses the entries to train in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from bistil_kernels.runtime import dispatch
from bistil_kernels.sparse.types import Pairs, index_dtype

# |θ1 − θ0| is not negative, so integers made of its fp32 bits have the same order. The radix select reads each of these
# integers as four digits, highest first: three digits of eight bits and one of seven.
DIGITS = ((23, 8), (15, 8), (7, 8), (0, 7))  # (lowest bit, number of bits)
NOT_FINITE = 255  # the exponent of inf and NaN
CHUNK = 1 << 20  # entries that the reference reads at once


@dispatch.outside_compiled_code  # because it waits for the device, and the results' sizes depend on values
def top_k_delta(
    pairs: Pairs,
    k: int,
    *,
    all_reduce: Callable[[Tensor], None] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> list[Tensor]:
    """Return the indices of the `k` largest |θ1 − θ0| over all pairs, exactly.

    Example:
        >>> start, moved = torch.zeros(4), torch.tensor([0.1, -3.0, 0.0, 2.0])
        >>> top_k_delta([(moved, start)], k=2)
        [tensor([1, 3], dtype=torch.int32)]

    Differences are computed in fp32. Of equal differences, those of earlier pairs are chosen first, and within a pair
    those of lower flat index. If there are fewer than `k` entries, all are chosen.

    Args:
        pairs: (θ1, θ0), two tensors of one shape and device, fp32, bf16 or fp16.
        k: how many entries to choose, at least 0.
        all_reduce: function that sums an int64 tensor over ranks in place, such as `torch.distributed.all_reduce`. Pass
            it if each rank holds only a slice of every pair: rank r holds the r-th slice of the flat tensors, which may
            be empty. Together the ranks then choose what one rank with whole tensors would choose. Leave it out if
            every rank holds whole tensors.
        rank, world_size: this rank and the number of ranks in the group that `all_reduce` sums over.

    Returns:
        For each pair the chosen flat row-major indices within this rank's slice, ascending, on the pair's device:
        int32, or int64 from 2³¹ entries on.

    Raises:
        ValueError: k is negative, the tensors of a pair differ in shape or device or have another dtype, CUDA pairs are
            on several devices, or a difference is not finite.

    This is a radix select. It reads every entry six times: for four histograms, to count the entries equal to the
    threshold, and to collect the chosen ones. The tensors are neither concatenated nor sorted. Memory beyond the result
    is a few chunks of 2²⁰ entries (on CUDA a few int64 for every 4096 entries, and the histograms). The host waits for
    the device.

    Source: LT-SFT (arXiv 2110.07560), section 2.
    """
    _check(pairs, k)
    if not pairs:
        return []
    if dispatch.runs_triton("sparse.top_k", (x for pair in pairs for x in pair)):
        from bistil_kernels.sparse.top_k import fused

        worker: _Worker = fused.Worker(pairs)
    else:
        worker = _Reference(pairs)
    threshold, of_equals = _find_threshold(worker, k, all_reduce or (lambda _: None))
    quotas = _share(worker.count_equal(threshold), of_equals, all_reduce, rank, world_size)
    return worker.collect(threshold, quotas)


class _Worker(Protocol):
    """Reader of the tensors, in PyTorch or Triton. A key is the fp32 bits of one |θ1 − θ0|, read as an integer."""

    def histogram(self, prefix: int, shift: int, bits: int) -> Tensor:
        """Return int64 [2^bits]: how often each digit occurs in the keys whose higher bits are `prefix`.

        A digit is the `bits` bits of a key from bit `shift` on.
        """
        ...

    def count_equal(self, key: int) -> Tensor:
        """Return int64 [P]: how many keys of each pair equal `key`. It is called once, before `collect`."""
        ...

    def collect(self, key: int, quotas: list[int]) -> list[Tensor]:
        """Return each pair's chosen indices, ascending: all keys above `key`, and the first `quotas[p]` equal to it."""
        ...


def _find_threshold(worker: _Worker, k: int, all_reduce: Callable[[Tensor], None]) -> tuple[int, int]:
    """Return a threshold `key` and a number m: the choice is all keys greater than `key`, and m keys equal to it.

    Raises:
        ValueError: a difference is not finite.
    """
    key = 0
    for shift, bits in DIGITS:
        counts = worker.histogram(key, shift, bits)
        all_reduce(counts)
        at_least = counts.cpu().flip(0).cumsum(0).flip(0)  # how many keys have this digit or a higher one
        if shift == DIGITS[0][0]:
            if at_least[NOT_FINITE]:
                raise ValueError(f"top_k_delta: {int(at_least[NOT_FINITE])} differences are not finite")
            k = min(k, int(at_least[0]))
        digit = int((at_least >= k).nonzero()[-1]) if k else len(counts) - 1
        k -= int(at_least[digit + 1]) if digit + 1 < len(counts) else 0
        key = key << bits | digit
    return key, k


def _share(
    counts_P: Tensor, of_equals: int, all_reduce: Callable[[Tensor], None] | None, rank: int, world_size: int
) -> list[int]:
    """Return for each pair how many of this rank's keys equal to the threshold are chosen.

    All ranks together choose `of_equals` such keys: those of earlier pairs first, within a pair those of lower ranks.
    """
    counts_PR = counts_P.new_zeros(len(counts_P), world_size)
    counts_PR[:, rank] = counts_P
    if all_reduce is not None:
        all_reduce(counts_PR)
    counts_PR = counts_PR.cpu()
    earlier_PR = counts_PR.flatten().cumsum(0).view_as(counts_PR) - counts_PR
    return torch.minimum((of_equals - earlier_PR).clamp(min=0), counts_PR)[:, rank].tolist()


class _Reference:
    """Reader of the tensors (`_Worker`) in plain PyTorch, a chunk at a time."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = [(after.detach().reshape(-1), before.detach().reshape(-1)) for after, before in pairs]

    def _keys(self, pair: tuple[Tensor, Tensor]) -> Iterator[tuple[int, Tensor]]:
        for first in range(0, len(pair[0]), CHUNK):
            after, before = (x[first : first + CHUNK].float() for x in pair)
            yield first, (after - before).abs_().view(torch.int32)

    def histogram(self, prefix: int, shift: int, bits: int) -> Tensor:
        total = torch.zeros(1 << bits, dtype=torch.int64)
        for pair in self.pairs:
            for _, keys in self._keys(pair):
                if shift != DIGITS[0][0]:
                    keys = keys[keys >> (shift + bits) == prefix]
                total += torch.bincount((keys >> shift) & ((1 << bits) - 1), minlength=1 << bits).to(total.device)
        return total.to(self.pairs[0][0].device)

    def count_equal(self, key: int) -> Tensor:
        counts = [sum(int((keys == key).sum()) for _, keys in self._keys(pair)) for pair in self.pairs]
        return torch.tensor(counts, device=self.pairs[0][0].device)

    def collect(self, key: int, quotas: list[int]) -> list[Tensor]:
        found = []
        for pair, quota in zip(self.pairs, quotas):
            parts = [torch.empty(0, dtype=torch.int64, device=pair[0].device)]
            for first, keys in self._keys(pair):
                chosen = keys > key
                equal = (keys == key).nonzero().squeeze(1)[:quota]
                quota -= len(equal)
                chosen[equal] = True
                parts.append(chosen.nonzero().squeeze(1) + first)
            found.append(torch.cat(parts).to(index_dtype(len(pair[0]))))
        return found


def _check(pairs: Pairs, k: int) -> None:
    if k < 0:
        raise ValueError(f"top_k_delta: k is {k}, expected at least 0")
    for i, (after, before) in enumerate(pairs):
        if after.shape != before.shape or after.device != before.device:
            raise ValueError(f"top_k_delta: pair {i}: {list(after.shape)} against {list(before.shape)}")
        for x in (after, before):
            if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
                raise ValueError(f"top_k_delta: pair {i} is {x.dtype}, expected fp32, bf16 or fp16")
