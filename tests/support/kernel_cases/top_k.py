"""Tests of the exact top K of |θ1 − θ0|, for any device."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from bistil_kernels import (
    top_k_delta,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

Pairs = Sequence[tuple[Tensor, Tensor]]


def by_sorting(pairs: Pairs, k: int) -> list[list[int]]:
    moved = torch.cat([(a.float() - b.float()).abs().flatten() for a, b in pairs])
    chosen = moved.sort(descending=True, stable=True).indices[:k].sort().values
    found, first = [], 0
    for a, _ in pairs:
        here = chosen[(chosen >= first) & (chosen < first + a.numel())] - first
        found.append(here.tolist())
        first += a.numel()
    return found


def draw(dtype: torch.dtype, levels: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Return pairs over many magnitudes, or with only `levels` values in each, so that most differences are equal."""
    pairs = []
    for shape in [(5, 7), (1,), (0,), (5000,), (2, 3, 4)]:
        if levels is None:
            after, before = torch.randn(shape) * 10.0 ** torch.randint(-30, 3, shape), torch.zeros(shape)
        else:
            after, before = (torch.randint(0, levels, shape).float() for _ in range(2))
        pairs.append((after.to(dtype), before.to(dtype)))
    return pairs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("levels", [None, 1, 3])
@pytest.mark.parametrize("k", [0, 1, 36, 700, 4500, 5060, 6000])
def test_chooses_what_a_stable_sort_would(dtype: torch.dtype, levels: int | None, k: int) -> None:
    torch.manual_seed(k)
    pairs = draw(dtype, levels)
    found = top_k_delta(pairs, k)
    assert [x.tolist() for x in found] == by_sorting(pairs, k)
    assert all(x.dtype == torch.int32 for x in found)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    values=st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=6), min_size=1),
    k=st.integers(0, 20),
)
def test_any_numbers_at_all(values: list[list[float]], k: int) -> None:
    pairs = [(torch.tensor(x), torch.zeros(len(x))) for x in values]
    assert [x.tolist() for x in top_k_delta(pairs, k)] == by_sorting(pairs, k)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_slices_on_several_ranks_give_the_answer_of_one(levels: int | None, world_size: int) -> None:
    torch.manual_seed(0)
    pairs = draw(torch.float32, levels)
    k = 1500
    barrier, turn, shared, found = threading.Barrier(world_size), threading.Lock(), {}, {}

    def worker(rank: int) -> None:
        def all_reduce(x: Tensor) -> None:
            shared[rank] = x.clone()
            turn.release()
            barrier.wait()
            total = torch.stack([shared[r] for r in range(world_size)]).sum(0)
            barrier.wait()
            turn.acquire()
            x.copy_(total)

        mine = [tuple(x.flatten().tensor_split(world_size)[rank] for x in pair) for pair in pairs]
        with turn:  # one rank at a time, because Triton's interpreter is not thread-safe
            found[rank] = top_k_delta(mine, k, all_reduce=all_reduce, rank=rank, world_size=world_size)  # type: ignore[arg-type]

    threads = [threading.Thread(target=worker, args=(rank,)) for rank in range(world_size)]
    [x.start() for x in threads]
    [x.join() for x in threads]
    whole = []
    for i, (after, _) in enumerate(pairs):
        firsts = torch.tensor([len(x) for x in after.flatten().tensor_split(world_size)]).cumsum(0).tolist()
        whole.append([j + first for r, first in enumerate([0, *firsts[:-1]]) for j in found[r][i].tolist()])
    assert whole == by_sorting(pairs, k)


def test_strided_tensors_are_indexed_as_if_they_were_whole() -> None:
    after = torch.randn(6, 5).t()
    assert [x.tolist() for x in top_k_delta([(after, torch.zeros(5, 6))], 7)] == by_sorting(
        [(after, torch.zeros(5, 6))], 7
    )


def test_what_does_not_fit_is_refused() -> None:
    x = torch.ones(3)
    assert top_k_delta([], 5) == []
    with pytest.raises(ValueError, match="k is -1"):
        top_k_delta([(x, x)], -1)
    with pytest.raises(ValueError, match="pair 0"):
        top_k_delta([(x, torch.ones(2))], 1)
    with pytest.raises(ValueError, match="float64"):
        top_k_delta([(x.double(), x.double())], 1)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="1 differences are not finite"):
            top_k_delta([(torch.tensor([1.0, bad]), torch.zeros(2))], 1)
