"""A fixture for tests under Triton's interpreter: the public functions run their Triton kernels on CPU tensors."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from bistil_kernels.runtime import dispatch
from torch import Tensor


@pytest.fixture(autouse=True)
def _triton_serves_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_triton(tensors: Iterable[Tensor]) -> bool:
        tensors = list(tensors)
        return len(tensors) > 0 and all(x.dtype != torch.float64 for x in tensors)

    monkeypatch.setattr(dispatch, "on_triton", on_triton)
