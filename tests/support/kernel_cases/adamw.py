"""Tests of deltas beside frozen weights and of their optimizer, for any device."""

from __future__ import annotations

import copy

import pytest
import torch
from bistil_kernels import (
    SparseAdamW,
    SparseDelta,
    restore_starts,
    write_deltas,
)
from torch import Tensor

from kernel_cases.entries import DTYPES, SHAPES, some


def assert_holds(delta: SparseDelta, start: Tensor) -> None:
    """Check to the bit that the weight is start + delta at the delta's entries and `start` everywhere else."""
    wanted = start.flatten().index_copy(0, delta.indices_K.long(), delta.values()).view_as(start)
    assert torch.equal(delta.weight, wanted)


def draw_deltas(weight_dtype: torch.dtype) -> list[SparseDelta]:
    return [SparseDelta.of(w, some(w)) for w in (torch.randn(shape).to(weight_dtype) for shape in SHAPES)]


def draw_gradients(deltas: list[SparseDelta], dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(x.weight.shape).to(dtype) for x in deltas]


@pytest.mark.parametrize("weight_dtype", DTYPES)
@pytest.mark.parametrize("dense", [True, False], ids=["gradient of the weight", "gradient of the delta"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_a_step_is_adamw_on_the_deltas(weight_dtype: torch.dtype, dense: bool, weight_decay: float) -> None:
    torch.manual_seed(0)
    deltas = draw_deltas(weight_dtype)
    starts = [x.weight.clone() for x in deltas]
    exact = [torch.nn.Parameter(torch.zeros(len(x.indices_K), dtype=torch.float64)) for x in deltas]
    settings = {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": weight_decay}
    ours = SparseAdamW(deltas, lr=0.1, **settings)  # type: ignore[arg-type]
    theirs = torch.optim.AdamW(exact, lr=0.1, **settings)  # type: ignore[arg-type]
    for step in range(4):
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        for delta, reference, gradient in zip(deltas, exact, draw_gradients(deltas, weight_dtype)):
            picked = gradient.flatten()[delta.indices_K.long()]
            if dense:
                delta.weight.grad = gradient
            else:
                delta.delta_K.grad = picked.float()
            reference.grad = picked.double()
        ours.step()
        theirs.step()
        ours.zero_grad()
        assert all(x.weight.grad is None and x.delta_K.grad is None for x in deltas)
    for delta, reference, start in zip(deltas, exact, starts):
        torch.testing.assert_close(delta.delta_K.double(), reference, rtol=1e-5, atol=1e-6)
        assert_holds(delta, start)
    restore_starts(deltas)
    assert all(torch.equal(x.weight, start) for x, start in zip(deltas, starts))


def test_weight_decay_pulls_towards_the_start() -> None:
    deltas = [SparseDelta.of(torch.full((4,), 5.0), torch.tensor([1, 2], dtype=torch.int32))]
    with torch.no_grad():
        deltas[0].delta_K.fill_(2.0)
    optimizer = SparseAdamW(deltas, lr=0.5, weight_decay=1.0)
    for _ in range(20):
        deltas[0].weight.grad = torch.zeros(4)
        optimizer.step()
    torch.testing.assert_close(deltas[0].weight, torch.full((4,), 5.0), rtol=0, atol=1e-4)


def test_groups_have_their_own_rate_and_a_delta_without_gradient_stays() -> None:
    torch.manual_seed(0)
    a, b, c = (SparseDelta.of(torch.zeros(4), torch.tensor([0, 3], dtype=torch.int32)) for _ in range(3))
    optimizer = SparseAdamW([{"params": [a, c], "lr": 0.1}, {"params": [b], "lr": 0.01}])
    for x in (a, b):
        x.weight.grad = torch.ones(4)
    optimizer.step()
    torch.testing.assert_close(torch.stack([x.weight for x in (a, b, c)])[:, 3], torch.tensor([-0.1, -0.01, 0.0]))
    c.weight.grad, a.weight.grad, b.weight.grad = torch.ones(4), None, None
    optimizer.step()  # the first step of c, though not of the others
    torch.testing.assert_close(torch.stack([x.weight for x in (a, b, c)])[:, 3], torch.tensor([-0.1, -0.01, -0.1]))


def test_a_resumed_optimizer_goes_on_to_the_same_bits() -> None:
    torch.manual_seed(0)
    deltas = draw_deltas(torch.bfloat16)
    optimizer = SparseAdamW(deltas, lr=0.1)
    gradients = [draw_gradients(deltas, torch.bfloat16) for _ in range(4)]

    def train(deltas: list[SparseDelta], optimizer: SparseAdamW, steps: slice) -> None:
        for step in gradients[steps]:
            for delta, gradient in zip(deltas, step):
                delta.weight.grad = gradient
            optimizer.step()

    train(deltas, optimizer, slice(2))
    resumed = copy.deepcopy(deltas)
    again = SparseAdamW(resumed, lr=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(deltas, optimizer, slice(2, 4))
    train(resumed, again, slice(2, 4))
    for one, other in zip(deltas, resumed):
        assert torch.equal(one.delta_K, other.delta_K)
        assert torch.equal(one.weight, other.weight)


def test_another_optimizer_steps_the_deltas_and_the_weights_are_written_after() -> None:
    torch.manual_seed(0)
    deltas = draw_deltas(torch.float32)
    for x in deltas:
        x.delta_K.grad = torch.randn_like(x.delta_K)
    torch.optim.AdamW([x.delta_K for x in deltas], lr=0.1).step()
    before = [x.weight.clone() for x in deltas]
    write_deltas(deltas)
    for x, start in zip(deltas, before):
        assert_holds(x, start)


def test_what_does_not_fit_is_refused() -> None:
    x, i = torch.ones(3), torch.tensor([0, 2], dtype=torch.int32)
    with pytest.raises(ValueError, match="ascending"):
        SparseDelta.of(x, torch.tensor([2, 0], dtype=torch.int32))
    with pytest.raises(ValueError, match="ascending"):
        SparseDelta.of(x, torch.tensor([0, 3], dtype=torch.int32))
    with pytest.raises(ValueError, match="out of range"):
        SparseAdamW([SparseDelta.of(x, i)], betas=(1.0, 0.9))
    delta = SparseDelta.of(x, i)
    with pytest.raises(ValueError, match="twice in one parameter group"):
        SparseAdamW([delta, delta])
    with pytest.raises(ValueError, match="more than one parameter group"):
        SparseAdamW([{"params": [delta]}, {"params": [delta]}])
