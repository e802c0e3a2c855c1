"""Tests of the KL of logits, for any device."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import (
    distillation_kl,
)
from torch import Tensor
from torch.nn import functional as F

from kernel_cases.exactness import ALLOWANCE, assert_as_exact_as_plain


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
