"""Which tensors the Triton kernels serve."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bistil_kernels import dispatch

CUDA: Any = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16)  # as much of a tensor as is looked at
DOUBLE: Any = SimpleNamespace(is_cuda=True, dtype=torch.float64)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Whether Triton is there is looked up again."""
    dispatch._has_triton.cache_clear()
    yield
    dispatch._has_triton.cache_clear()


def test_kernels_serve_cuda_tensors_that_are_not_float64() -> None:
    pytest.importorskip("triton")
    assert dispatch.on_triton([CUDA, CUDA])
    assert not dispatch.on_triton([CUDA, DOUBLE])
    assert not dispatch.on_triton([CUDA, torch.ones(1)])
    assert not dispatch.on_triton([])


def test_without_triton_the_references_serve_and_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="triton is not installed"):
        assert not dispatch.on_triton([CUDA])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not dispatch.on_triton([CUDA])
        assert not dispatch.on_triton([torch.ones(1)])
