"""The two logit distillation losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from bistil_kernels import distillation_kl, linear_distillation_kl
from bistil_kernels.linear_logits import reference as linear_logits_reference
from bistil_kernels.logits import reference as logits_reference
from torch import Tensor
from torch.nn import functional as F

from tests.kernels.exactness import ALLOWANCE, assert_as_exact_as_plain

LABELS = {
    "none given": None,
    "all": torch.tensor([3, 0, 12, 7, 7]),
    "some": torch.tensor([3, -100, 12, -100, 7]),
    "nothing": torch.full((5,), -100),
}


@pytest.fixture(params=[1 << 20, 1], ids=["one chunk", "row by row"], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits_reference, "CHUNK", request.param)
    monkeypatch.setattr(linear_logits_reference, "CHUNK", request.param)


def plain(student_NV: Tensor, teacher_NV: Tensor, temperature: float, valid: Tensor | None) -> Tensor:
    if valid is not None:
        student_NV, teacher_NV = student_NV[valid], teacher_NV[valid]
    log_s, log_t = (student_NV / temperature).log_softmax(-1), (teacher_NV / temperature).log_softmax(-1)
    return F.kl_div(log_s, log_t, reduction="sum", log_target=True) / max(len(log_s), 1)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("valid", [None, [True] * 5, [True, False, True, True, False], [False] * 5])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_kl_is_as_exact_as_torchs(temperature: float, valid: list[bool] | None, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = None if valid is None else torch.tensor(valid)
    student, teacher = torch.randn(13, 5, dtype=dtype).t() * 3, torch.randn(5, 13, dtype=dtype) * 3
    assert_as_exact_as_plain(
        lambda x: distillation_kl(x[0], x[1], temperature, mask),
        lambda x: plain(x[0], x[1], temperature, mask),
        [student, teacher],
        trained=1,
    )


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


def test_linear_kl_passes_gradcheck() -> None:
    h, w, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((5, 3), (13, 3), (13,)))
    teacher = [torch.randn(s, dtype=torch.float64) for s in ((5, 2), (13, 2))]

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return linear_distillation_kl(
            h, w, *teacher, student_bias=b, temperature=2.0, labels=LABELS["some"], alpha_ce=0.3
        )

    assert torch.autograd.gradcheck(loss, (h, w, b))


def test_kl_passes_gradcheck() -> None:
    student = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    teacher, valid = torch.randn(4, 6, dtype=torch.float64), torch.tensor([True, False, True, True])
    assert torch.autograd.gradcheck(lambda s: distillation_kl(s, teacher, 2.0, valid), (student,))


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight = torch.randn(3, 4, requires_grad=True), torch.randn(9, 4)
    linear_distillation_kl(hidden, weight, torch.randn(3, 4), torch.randn(9, 4)).backward()
    assert hidden.grad is not None
    assert weight.grad is None


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
    with pytest.raises(ValueError, match="temperature"):
        distillation_kl(x, x, 0.0)
    with pytest.raises(ValueError, match=r"expected the same \[N, V\]"):
        distillation_kl(x, torch.ones(3, 5))
    with pytest.raises(ValueError, match="expected bool"):
        distillation_kl(x, x, valid=torch.ones(3))
    with pytest.raises(ValueError, match="teacher_weight"):
        linear_distillation_kl(x, torch.ones(9, 4), x, torch.ones(8, 4))
    with pytest.raises(ValueError, match="needs labels"):
        linear_distillation_kl(x, torch.ones(9, 4), x, torch.ones(9, 4), alpha_ce=1.0)
