"""Test losses by the rule of `bistil_kernels.runtime.exactness`: no further from float64 than plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from bistil_kernels.runtime.exactness import ALLOWANCE, error
from torch import Tensor

MASKS = ["all real", "none given", "right padding", "holes", "an empty sequence", "nothing real"]

Loss = Callable[[Sequence[Tensor]], Tensor]


def draw_mask(name: str, B: int, T: int) -> Tensor | None:
    """Return a bool mask [B, T] of the named kind; None where no mask is given."""
    if name == "none given":
        return None
    if name == "holes":
        return torch.rand(B, T) < 0.6
    mask = torch.full((B, T), name != "nothing real")
    if name == "right padding":
        mask = torch.arange(T) < torch.randint(1, T + 1, (B, 1))
    if name == "left padding":
        mask = torch.arange(T) >= torch.randint(0, T, (B, 1))
    if name == "an empty sequence":
        mask[0] = False
    return mask


def assert_as_exact_as_plain(ours: Loss, plain: Loss, inputs: Sequence[Tensor], trained: int) -> None:
    """Check that value and gradients of `ours` are as near to float64 as those of `plain`, within ALLOWANCE.

    The upstream gradient is random. The first `trained` inputs get gradients; the others must get none, although all
    inputs require them.
    """
    dtype = inputs[0].dtype
    doubles = [x.double() for x in inputs]
    upstream = torch.rand_like(plain(doubles)) * 4 - 2
    exact = _value_and_gradients(plain, doubles, trained, upstream)
    rough = _value_and_gradients(plain, inputs, trained, upstream)
    leaves = [x.detach().requires_grad_() for x in inputs]
    value = ours(leaves)
    assert value.dtype == torch.float32
    value.backward(upstream.float())
    assert all(x.grad is None for x in leaves[trained:]), "a teacher input got a gradient"
    found = [value.detach(), *(x.grad for x in leaves[:trained])]
    for ours_x, rough_x, exact_x in zip(found, rough, exact):
        assert ours_x is not None
        assert error(ours_x, exact_x) <= error(rough_x, exact_x) + ALLOWANCE[dtype]
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs), value.detach(), rtol=1e-4, atol=1e-7)  # means can be as small as 1e-5


def assert_near_float64(ours: Loss, plain: Loss, inputs: Sequence[Tensor], trained: int, upstream: float) -> None:
    """Check that value and gradients of `ours` are within four allowances of float64, for a large upstream gradient.

    This is for fp16, where plain PyTorch itself overflows or underflows.
    """
    doubles = [x.double() for x in inputs]
    exact = _value_and_gradients(plain, doubles, trained, torch.full_like(plain(doubles), upstream))
    leaves = [x.detach().requires_grad_(i < trained) for i, x in enumerate(inputs)]
    value = ours(leaves)
    value.backward(torch.full_like(value, upstream))
    for found, exact_x in zip([value.detach(), *(x.grad for x in leaves[:trained])], exact):
        assert found is not None
        assert error(found, exact_x) <= 4 * ALLOWANCE[inputs[0].dtype]


def _value_and_gradients(loss: Loss, inputs: Sequence[Tensor], trained: int, upstream: Tensor) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_(i < trained) for i, x in enumerate(inputs)]
    value = loss(leaves)
    value.backward(upstream.to(value.dtype))
    return [value.detach(), *(x.grad if x.grad is not None else torch.zeros_like(x) for x in leaves[:trained])]
