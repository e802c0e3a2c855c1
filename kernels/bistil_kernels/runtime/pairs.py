"""Serve many layer pairs, each with tensors of student and teacher, in one launch.

A kernel takes the pairs' pointers as tuples among its arguments. So no table has to be copied to the device, and the
compiler knows how each pointer is aligned.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_PAIRS = 32  # in a launch; arguments of a kernel are limited to 4 KiB
MOST_PROGRAMS = 2048  # about as many as an H100 or H200 runs at once

_dtype, _shape, _stride = Tensor.dtype.__get__, Tensor.shape.__get__, Tensor.stride  # type: ignore[attr-defined]


@triton.jit
def pointer_of(pointers, pair):
    """Return `pointers[pair]`, where `pair` is known at run time only."""
    chosen = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        if pair == i:
            chosen = pointers[i]
    return chosen


def layouts(*columns: Sequence[Tensor]) -> list[Hashable]:
    """Return for each pair its layout: the dtypes, shapes and strides of its tensors. A launch serves one layout.

    Each column holds one tensor of every pair.
    """
    return list(zip(*[map(of, column) for column in columns for of in (_dtype, _shape, _stride)]))


def launches(layouts: Sequence[Hashable]) -> Iterator[Sequence[int]]:
    """Yield for each launch the indices of its pairs: at most `MOST_PAIRS` pairs, all of the same layout."""
    if layouts and layouts.count(layouts[0]) == len(layouts):  # quicker than hashing them
        groups: list[Sequence[int]] = [range(len(layouts))]
    else:
        of_layout: dict[Hashable, list[int]] = {}
        for i, one in enumerate(layouts):
            of_layout.setdefault(one, []).append(i)
        groups = list(of_layout.values())
    for group in groups:
        for first in range(0, len(group), MOST_PAIRS):
            yield group[first : first + MOST_PAIRS]


def device_of(x: Tensor) -> AbstractContextManager[object]:
    """Return a context that makes the device of `x` the current device, because launches go to the current device."""
    if not x.is_cuda or torch.cuda.current_device() == x.get_device():
        return nullcontext()
    return torch.cuda.device(x.device)


def picked(tensors: Sequence[Tensor], pairs: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the tensors of the `pairs` of a launch, as the tuple that a kernel takes."""
    return tuple(tensors if len(pairs) == len(tensors) else [tensors[i] for i in pairs])


def gathered(x_P: Tensor, pairs: Sequence[int]) -> Tensor:
    """Return the entries of `x_P` for the `pairs` of a launch; if these are all pairs, return `x_P` itself."""
    return x_P if len(pairs) == x_P.shape[0] else torch.stack([x_P[i] for i in pairs])


def scatter(x: Tensor, into_P: Tensor, pairs: Sequence[int]) -> None:
    """Copy back into `into_P` what a launch wrote to `x`, where `x` is the result of `gathered(into_P, pairs)`."""
    if x is not into_P:
        for one, i in zip(x, pairs):
            into_P[i].copy_(one)


def grid(size: int, block: int, pairs: int) -> tuple[int, int]:
    """Return the grid (programs a pair, pairs) of a kernel that loops over blocks of a pair's `size` entries.

    There are at most `MOST_PROGRAMS` programs in all, which get about equally many blocks.
    """
    blocks = -(-size // block)  # `triton.cdiv` is slow outside a kernel
    rounds = -(-blocks // max(1, MOST_PROGRAMS // pairs))
    return max(1, -(-blocks // max(1, rounds))), pairs
