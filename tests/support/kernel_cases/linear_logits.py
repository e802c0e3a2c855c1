"""Tests of the KL of two linear heads, for any device."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from bistil_kernels import (
    linear_distillation_kl,
)
from torch import Tensor
from torch.nn import functional as F

from kernel_cases.exactness import ALLOWANCE, assert_as_exact_as_plain
from kernel_cases.logits import plain

LABELS = {
    "none given": None,
    "all": torch.tensor([3, 0, 12, 7, 7]),
    "some": torch.tensor([3, -100, 12, -100, 7]),
    "nothing": torch.full((5,), -100),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("alpha_ce", [0.0, 0.5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_linear_kl_is_as_exact_as_making_the_logits(
    labels: Tensor | None, alpha_ce: float, biased: bool, dtype: torch.dtype
) -> None:
    if labels is None and alpha_ce:
        return
    torch.manual_seed(0)
    N, V, Ds, Dt = 5, 13, 4, 6
    hidden, weight, bias = torch.randn(N, Ds), torch.randn(V, Ds), torch.randn(V)
    teacher = [torch.randn(N, Dt), torch.randn(V, Dt), torch.randn(V)]
    student = [hidden, weight, bias] if biased else [hidden, weight]
    inputs = [x.to(dtype) for x in (*student, *(teacher if biased else teacher[:2]))]
    n = len(student)

    def ours(x: Sequence[Tensor]) -> Tensor:
        biases = {"student_bias": x[2], "teacher_bias": x[5]} if biased else {}
        return linear_distillation_kl(
            x[0], x[1], x[n], x[n + 1], **biases, temperature=2.0, labels=labels, alpha_ce=alpha_ce
        )

    def by_logits(x: Sequence[Tensor]) -> Tensor:
        student_NV, teacher_NV = F.linear(*x[:n]), F.linear(*x[n:])
        value = plain(student_NV, teacher_NV, 2.0, None if labels is None else labels != -100)
        if alpha_ce and labels is not None:
            count = max(int((labels != -100).sum()), 1)
            value = value + alpha_ce * F.cross_entropy(student_NV, labels, reduction="sum") / count
        return value

    assert_as_exact_as_plain(ours, by_logits, inputs, trained=n)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight = torch.randn(3, 4, requires_grad=True), torch.randn(9, 4)
    linear_distillation_kl(hidden, weight, torch.randn(3, 4), torch.randn(9, 4)).backward()
    assert hidden.grad is not None
    assert weight.grad is None
