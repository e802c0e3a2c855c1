"""Tests of reading and writing a few entries, for any device."""

from __future__ import annotations

import copy

import pytest
import torch
from bistil_kernels import (
    gather_at,
    swap_in,
)
from torch import Tensor

SHAPES = [(1,), (7, 5), (64, 33), (3, 5, 7), (4100,)]


DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def some(x: Tensor, share: float = 0.3) -> Tensor:
    """Return ascending int32 flat indices of about this share of `x`, always with the first and the last."""
    picked = torch.rand(x.numel()) < share
    picked[0] = picked[-1] = True
    return picked.nonzero().squeeze(1).int()


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view({8: torch.int64, 4: torch.int32, 2: torch.int16}[x.element_size()])


def noise(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return random bit patterns, which include NaNs with payloads, infinities and negative zeros."""
    raw = torch.randint(-(2**15), 2**15, shape, dtype=torch.int16)
    if dtype != torch.float32:
        return raw.view(dtype)
    return torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).int().view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_gathers_the_entries_of_many_tensors(dtype: torch.dtype, index_dtype: torch.dtype) -> None:
    tensors = [noise(shape, dtype) for shape in SHAPES]
    indices = [some(x).to(index_dtype) for x in tensors]
    for x, index, found in zip(tensors, indices, gather_at(tensors, indices)):
        assert torch.equal(bits(found), bits(x).flatten()[index.long()])
        assert torch.equal(bits(gather_at(x, index)), bits(found))


@pytest.mark.parametrize("dtype", DTYPES)
def test_swapping_in_and_back_restores_every_bit(dtype: torch.dtype) -> None:
    weights = [noise(shape, dtype) for shape in SHAPES]
    before = copy.deepcopy(weights)
    indices = [some(x) for x in weights]
    news = [noise((len(i),), dtype) for i in indices]
    olds = swap_in(weights, indices, news)
    for weight, start, index, new, old in zip(weights, before, indices, news, olds):
        expected = bits(start).flatten().index_copy(0, index.long(), bits(new))
        assert torch.equal(bits(weight).flatten(), expected)
        assert torch.equal(bits(old), bits(start).flatten()[index.long()])
    swap_in(weights, indices, olds)
    assert all(torch.equal(bits(x), bits(y)) for x, y in zip(weights, before))


def test_a_strided_tensor_is_indexed_as_if_it_were_whole() -> None:
    storage = torch.arange(24.0).view(4, 6)
    view, index = storage.t(), torch.tensor([0, 1, 7, 23], dtype=torch.int32)
    assert gather_at(view, index).tolist() == [view.flatten()[i].item() for i in index]
    old = swap_in(view, index, torch.full((4,), -1.0))
    assert old.tolist() == [0.0, 6.0, 19.0, 23.0]
    assert (storage == -1).nonzero().tolist() == [[0, 0], [1, 0], [3, 1], [3, 5]]


def test_a_weight_that_trains_is_swapped_without_autograd_noticing() -> None:
    weight = torch.nn.Parameter(torch.zeros(5))
    swap_in(weight, torch.tensor([1, 3], dtype=torch.int32), torch.ones(2))
    assert weight.tolist() == [0, 1, 0, 1, 0]
    assert weight.grad_fn is None


def test_nothing_to_move_is_fine() -> None:
    assert gather_at([], []) == []
    assert gather_at(torch.ones(3), torch.empty(0, dtype=torch.int32)).shape == (0,)
    assert swap_in(torch.ones(3), torch.empty(0, dtype=torch.int32), torch.empty(0)).shape == (0,)


def test_what_does_not_fit_is_refused() -> None:
    x, i = torch.ones(3), torch.tensor([0, 2], dtype=torch.int32)
    with pytest.raises(ValueError, match="expected int32 or int64"):
        gather_at(x, i.float())
    with pytest.raises(ValueError, match="2 tensors, indices for 1"):
        gather_at([x, x], [i])
    with pytest.raises(ValueError, match=r"expected torch\.float32"):
        swap_in(x, i, torch.ones(2, dtype=torch.float64))
