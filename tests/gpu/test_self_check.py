"""Test that every family passes its self-check on a GPU, and that the check is short once its kernels are compiled."""

from __future__ import annotations

import time

import pytest
import torch
from bistil_kernels.self_check import failing_families

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
LONGEST = 3.0  # seconds


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_family_passes_in_less_than_three_seconds(dtype: torch.dtype) -> None:
    device = torch.device("cuda")
    assert failing_families(device, dtype) == {}, "the first check compiles"
    torch.cuda.synchronize()
    begun = time.perf_counter()
    assert failing_families(device, dtype) == {}
    torch.cuda.synchronize()
    assert time.perf_counter() - begun < LONGEST
