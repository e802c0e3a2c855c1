"""Test the reference of the KL of logits."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import (
    distillation_kl,
)
from bistil_kernels.logits import reference
from kernel_cases.logits import (  # noqa: F401
    test_kl_is_as_exact_as_torchs,
)


@pytest.fixture(params=[1 << 20, 1], ids=["one chunk", "row by row"], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "CHUNK", request.param)


def test_kl_passes_gradcheck() -> None:
    student = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    teacher, valid = torch.randn(4, 6, dtype=torch.float64), torch.tensor([True, False, True, True])
    assert torch.autograd.gradcheck(lambda s: distillation_kl(s, teacher, 2.0, valid), (student,))


def test_what_does_not_fit_is_refused() -> None:
    x = torch.ones(3, 4)
    with pytest.raises(ValueError, match="temperature"):
        distillation_kl(x, x, 0.0)
    with pytest.raises(ValueError, match=r"expected the same \[N, V\]"):
        distillation_kl(x, torch.ones(3, 5))
    with pytest.raises(ValueError, match="expected bool"):
        distillation_kl(x, x, valid=torch.ones(3))
    with pytest.raises(ValueError, match="teacher_logits is on meta, expected cpu"):
        distillation_kl(x, x.to("meta"))
    with pytest.raises(ValueError, match="valid is on meta, expected cpu"):
        distillation_kl(x, x, valid=torch.ones(3, dtype=torch.bool, device="meta"))
