"""Test the self-check with the Triton kernels themselves, under Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bistil_kernels.attention_map import fused as attention_map
from bistil_kernels.hidden_state import fused as hidden_state
from bistil_kernels.linear_logits import fused as linear_logits
from bistil_kernels.logits import fused as logits
from bistil_kernels.self_check import failing_families
from kernel_cases.exactness import ALLOWANCE
from kernel_cases.off_by import Scaled
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401 - a fixture

CPU = torch.device("cpu")
LOSSES: dict[Any, str] = {
    hidden_state: "hidden_state_loss",
    attention_map: "attention_map_loss",
    logits: "distillation_kl",
    linear_logits: "linear_distillation_kl",
}


@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_our_kernels_pass(dtype: torch.dtype) -> None:
    assert failing_families(CPU, dtype) == {}


@pytest.mark.slow
@pytest.mark.parametrize("factors", [(1.02, 1.0), (0.98, 1.0), (1.0, 1.02), (1.0, 0.98)], ids=str)
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_two_per_cent_more_or_less_than_our_kernels_give_are_found(
    dtype: torch.dtype, factors: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(right: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda *args: Scaled.apply(right(*args), *factors)

    for module, name in LOSSES.items():
        monkeypatch.setattr(module, name, spoilt(getattr(module, name)))
    assert list(failing_families(CPU, dtype)) == ["hidden_state", "attention_map", "logits", "linear_logits"]
