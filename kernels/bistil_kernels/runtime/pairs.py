"""One launch for many pairs of tensors.

Pointers travel as a tuple among a kernel's arguments: no table to copy to the device, alignment known when compiling.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_PAIRS = 32  # a launch; arguments of a kernel are limited to 4 KiB
MOST_PROGRAMS = 2048  # about a wave of an H100 or H200

_dtype, _shape, _stride = Tensor.dtype.__get__, Tensor.shape.__get__, Tensor.stride  # type: ignore[attr-defined]


@triton.jit
def pointer_of(pointers, pair):
    """`pointers[pair]`, for a pair only known at run time."""
    chosen = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        if pair == i:
            chosen = pointers[i]
    return chosen


def layouts(*columns: Sequence[Tensor]) -> list[Hashable]:
    """What a kernel compiles for and takes once for all of a launch: of each pair, from columns of their tensors."""
    return list(zip(*[map(of, column) for column in columns for of in (_dtype, _shape, _stride)]))


def launches(layouts: Sequence[Hashable]) -> Iterator[Sequence[int]]:
    """Indices of the pairs of each launch: of one layout, `MOST_PAIRS` at most."""
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
    """Launches go to the current device: this makes it that of `x`."""
    if not x.is_cuda or torch.cuda.current_device() == x.get_device():
        return nullcontext()
    return torch.cuda.device(x.device)


def picked(tensors: Sequence[Tensor], pairs: Sequence[int]) -> tuple[Tensor, ...]:
    """A launch's tensors, as a kernel takes them."""
    return tuple(tensors if len(pairs) == len(tensors) else [tensors[i] for i in pairs])


def gathered(x_P: Tensor, pairs: Sequence[int]) -> Tensor:
    """A launch's entries of `x_P`: `x_P` itself, whatever its stride, where one launch serves all pairs."""
    return x_P if len(pairs) == x_P.shape[0] else torch.stack([x_P[i] for i in pairs])


def scatter(x: Tensor, into_P: Tensor, pairs: Sequence[int]) -> None:
    """Put what a launch left in `gathered(into_P, pairs)` where it belongs."""
    if x is not into_P:
        for one, i in zip(x, pairs):
            into_P[i].copy_(one)


def grid(size: int, block: int, pairs: int) -> tuple[int, int]:
    """(programs a pair, pairs) for kernels that loop over blocks: about `MOST_PROGRAMS`, all with equal work."""
    blocks = -(-size // block)  # `triton.cdiv` is slow outside a kernel
    rounds = -(-blocks // max(1, MOST_PROGRAMS // pairs))
    return max(1, -(-blocks // max(1, rounds))), pairs
