"""Test the reference of the KL of two linear heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bistil_kernels import (
    linear_distillation_kl,
)
from bistil_kernels.linear_logits import reference
from kernel_cases.linear_logits import (  # noqa: F401
    LABELS,
    test_a_frozen_head_gets_no_gradient,
    test_linear_kl_is_as_exact_as_making_the_logits,
)
from torch import Tensor


@pytest.fixture(params=[1 << 20, 1], ids=["one chunk", "row by row"], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "CHUNK", request.param)


def test_linear_kl_passes_gradcheck() -> None:
    h, w, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((5, 3), (13, 3), (13,)))
    teacher = [torch.randn(s, dtype=torch.float64) for s in ((5, 2), (13, 2))]

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return linear_distillation_kl(
            h, w, *teacher, student_bias=b, temperature=2.0, labels=LABELS["some"], alpha_ce=0.3
        )

    assert torch.autograd.gradcheck(loss, (h, w, b))


def test_an_evaluation_makes_no_gradient_of_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Size] = []
    empty_like = torch.empty_like

    def watched(x: Tensor, **how: Any) -> Tensor:
        made.append(x.shape)
        return empty_like(x, **how)

    monkeypatch.setattr(torch, "empty_like", watched)
    inputs = torch.randn(3, 4), torch.randn(9, 4, requires_grad=True), torch.randn(3, 4), torch.randn(9, 4)
    with torch.no_grad():
        alone = linear_distillation_kl(*inputs)
    assert not made
    assert torch.equal(alone, linear_distillation_kl(*inputs))
    assert made == [(9, 4)]


def test_what_does_not_fit_is_refused() -> None:
    x = torch.ones(3, 4)
    with pytest.raises(ValueError, match="teacher_weight"):
        linear_distillation_kl(x, torch.ones(9, 4), x, torch.ones(8, 4))
    with pytest.raises(ValueError, match="needs labels"):
        linear_distillation_kl(x, torch.ones(9, 4), x, torch.ones(9, 4), alpha_ce=1.0)
    with pytest.raises(ValueError, match="labels is on meta, expected cpu"):
        linear_distillation_kl(x, torch.ones(9, 4), x, torch.ones(9, 4), labels=torch.zeros(3, device="meta"))
