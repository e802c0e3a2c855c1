"""Test the sparse updates and the selection on a CUDA device, at mBERT's size."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import SparseAdamW, SparseDelta, gather_at, restore_starts, swap_in, top_k_delta
from torch import Tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

MBERT = [(119_547, 768), (512, 768), *[(768, 768), (768,), (3072, 768), (3072,), (768, 3072)] * 12]


def draw(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, device="cuda").to(dtype) for shape in MBERT]


def some(x: Tensor, density: float) -> Tensor:
    return (torch.rand(x.numel(), device=x.device) < density).nonzero().squeeze(1).int()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("density", [0.01, 0.08])
def test_gathering_and_swapping_move_exact_bits(dtype: torch.dtype, density: float) -> None:
    weights = draw(dtype)
    before = [x.clone() for x in weights]
    indices = [some(x, density) for x in weights]
    news = [torch.randn(len(i), device="cuda").to(dtype) for i in indices]
    olds = swap_in(weights, indices, news)
    for found, new in zip(gather_at(weights, indices), news):
        assert torch.equal(found, new)
    for weight, start, index, new, old in zip(weights, before, indices, news, olds):
        assert torch.equal(old, start.flatten()[index.long()])
        assert torch.equal(weight.flatten(), start.flatten().index_copy(0, index.long(), new))
    swap_in(weights, indices, olds)
    assert all(torch.equal(x, y) for x, y in zip(weights, before))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dense", [True, False], ids=["gradient of the weight", "gradient of the delta"])
def test_steps_are_adamw_on_the_deltas(dtype: torch.dtype, dense: bool) -> None:
    weights = draw(dtype)
    starts = [x.clone() for x in weights]
    deltas = [SparseDelta.of(x, some(x, 0.05)) for x in weights]
    theirs = [torch.zeros_like(x.delta_K, requires_grad=True) for x in deltas]
    ours = SparseAdamW(deltas, lr=1e-3, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs, lr=1e-3, weight_decay=0.1)
    for step in range(3):
        for delta, other in zip(deltas, theirs):
            gradient = torch.randn(delta.weight.shape, device="cuda").to(dtype)
            other.grad = gather_at(gradient, delta.indices_K).float()
            if dense:
                delta.weight.grad = gradient
            else:
                delta.delta_K.grad = other.grad.clone()
        if step:
            torch.cuda.set_sync_debug_mode("error")
        ours.step()
        torch.cuda.set_sync_debug_mode("default")
        reference.step()
    for delta, other, start in zip(deltas, theirs, starts):
        torch.testing.assert_close(delta.delta_K, other, rtol=1e-5, atol=1e-8)
        written = start.flatten().index_copy(0, delta.indices_K.long(), delta.values())
        assert torch.equal(delta.weight.flatten(), written)
    restore_starts(deltas)
    assert all(torch.equal(x, y) for x, y in zip(weights, starts))


def test_tensors_of_a_flat_buffer_may_begin_anywhere() -> None:
    torch.manual_seed(0)
    flat = torch.randn(3_000_003, device="cuda").bfloat16()
    weights, start = [flat[1:1_000_002], flat[1_000_005:]], flat.clone()
    indices = [some(x, 0.08) for x in weights]
    news = [torch.randn(len(i) + 1, device="cuda").bfloat16()[1:] for i in indices]
    olds = swap_in(weights, indices, news)
    for found, new in zip(gather_at(weights, indices), news):
        assert torch.equal(found, new)
    swap_in(weights, indices, olds)
    assert torch.equal(flat, start)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("density", [0.01, 0.08])
def test_selection_is_what_a_stable_sort_would_choose(dtype: torch.dtype, density: float) -> None:
    before = draw(dtype)
    # in bf16 most entries round back to the old value
    after = [(x.float() + torch.randn(x.shape, device="cuda") * 1e-3).to(dtype) for x in before]
    pairs = list(zip(after, before))
    k = int(density * sum(x.numel() for x in before))
    torch.cuda.reset_peak_memory_stats()
    allocated = torch.cuda.memory_allocated()
    found = top_k_delta(pairs, k)
    assert torch.cuda.max_memory_allocated() - allocated < 4 * k + 32 * 2**20
    moved = torch.cat([(a.float() - b.float()).abs().flatten() for a, b in pairs])
    chosen = moved.sort(descending=True, stable=True).indices[:k].sort().values
    first = 0
    for (a, _), indices in zip(pairs, found):
        here = chosen[(chosen >= first) & (chosen < first + a.numel())] - first
        assert torch.equal(indices.long(), here)
        first += a.numel()
