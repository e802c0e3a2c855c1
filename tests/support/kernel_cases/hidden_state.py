"""Tests of the hidden-state loss, for any device."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from bistil_kernels import (
    hidden_state_loss,
)
from torch import Tensor
from torch.nn import functional as F

from kernel_cases.exactness import ALLOWANCE

P = 2


def plain(inputs: Sequence[Tensor], mask: Tensor | None, kind: str, projections: Sequence[Tensor] | None) -> Tensor:
    """Select the real tokens, then apply torch's own loss; return one value for each pair [P]."""
    values = []
    for i in range(P):
        s, t = inputs[i], inputs[P + i]
        target = t if projections is None else t @ projections[i].to(t.dtype)
        real = torch.ones(s.shape[:2], dtype=torch.bool) if mask is None else mask
        if not real.any():
            values.append((s * 0).sum())
        elif kind == "mse":
            values.append(F.mse_loss(s[real], target[real]))
        else:
            values.append((1 - F.cosine_similarity(s[real], target[real], dim=-1)).mean())
    return torch.stack(values)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf])
def test_padding_may_hold_garbage(kind: str, garbage: float) -> None:
    student, teacher = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True, True, True, False]])
    clean = hidden_state_loss([student], [teacher], mask, kind=kind)
    student[~mask] = teacher[~mask] = garbage
    student.requires_grad_()
    value = hidden_state_loss([student], [teacher], mask, kind=kind)
    value.sum().backward()
    assert torch.equal(value.detach(), clean)
    assert student.grad is not None
    assert not student.grad[~mask].any()
    assert student.grad.isfinite().all()


def test_a_zero_state_has_cosine_zero_and_a_finite_gradient() -> None:
    student = torch.zeros(1, 2, 3, requires_grad=True)
    value = hidden_state_loss([student], [torch.ones(1, 2, 3)], None, kind="cosine")
    value.sum().backward()
    assert value.item() == 1.0
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_a_second_backward_through_a_kept_graph_gives_the_same_gradient() -> None:
    student = torch.randn(1, 2, 3, requires_grad=True)
    value = hidden_state_loss([student], [torch.ones(1, 2, 3)], None).sum()
    first, second = (torch.autograd.grad(value, student, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_an_upstream_gradient_told_beforehand_changes_no_gradient(kind: str, dtype: torch.dtype) -> None:
    student = torch.randn(2, 5, 6, dtype=dtype, requires_grad=True)
    teacher = torch.randn(2, 5, 6, dtype=dtype)
    for upstream in (0.25, -3.0):  # the announced gradient, then another one
        told = hidden_state_loss([student], [teacher], None, kind=kind, upstream=0.25) * upstream
        plain = hidden_state_loss([student], [teacher], None, kind=kind) * upstream
        found, wanted = (torch.autograd.grad(x.sum(), student)[0] for x in (told, plain))
        torch.testing.assert_close(found, wanted, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)
    with pytest.raises(ValueError, match="upstream"):
        hidden_state_loss([student], [teacher], None, upstream=0.0)


def test_gradients_add_up_over_several_passes_as_torchs_do() -> None:
    student, teacher = torch.randn(1, 2, 3, requires_grad=True), torch.randn(1, 2, 3)
    for _ in range(2):  # the first pass must leave intact what the second needs
        hidden_state_loss([student], [teacher], None).sum().backward()
    torch.testing.assert_close(student.grad, 4 * (student.detach() - teacher) / 6)
