"""Test which tensors the Triton kernels serve."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bistil_kernels.runtime import choice, dispatch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

# only the attributes of a tensor that the dispatch reads
CUDA: Any = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16)
DOUBLE: Any = SimpleNamespace(is_cuda=True, dtype=torch.float64)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Clear the cached answer to whether Triton is installed, before and after a test."""
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
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="triton is not installed"):
        assert not dispatch.on_triton([CUDA])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not dispatch.on_triton([CUDA])
        assert not dispatch.on_triton([torch.ones(1)])


def test_only_calls_that_nobody_watches_are_direct() -> None:
    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return func(*args, **(kwargs or {}))

    x, answers = torch.ones(2), []

    def ask(y: Tensor) -> Tensor:
        answers.append(dispatch.is_direct([y]))
        return y.sum()

    ask(x)
    ask(torch.nn.Parameter(x))
    with Watching():
        ask(x)
    with FakeTensorMode():
        ask(torch.ones(2))
    torch.func.grad(ask)(x)
    make_fx(ask)(x)
    torch.compile(ask, backend="aot_eager")(x)
    assert answers == [True, True, False, False, False, False, False]


def test_what_stays_outside_compiled_code_is_run_as_it_is_from_inside() -> None:
    compiling = []

    def scale(x: Tensor) -> Tensor:
        compiling.append(torch.compiler.is_compiling())
        return x * int(x.sum())

    @dispatch.outside_compiled_code
    def grow(x: Tensor) -> Tensor:
        return scale(x) + 1

    backend = CompileCounter()
    found = torch.compile(lambda x: grow(x * 2) * 3, backend=backend)(torch.ones(2))
    assert found.tolist() == [27.0, 27.0]
    assert compiling == [False]
    assert backend.frame_count == 2, "what is before it and what is after it"


def test_a_gradient_is_not_differentiated_silently() -> None:
    """Check that a second derivative fails with the error of torch's `once_differentiable`."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @dispatch.once_differentiable
        def backward(ctx: Any, upstream: Tensor) -> Tensor:
            return 2 * ctx.saved_tensors[0] * upstream

    x = torch.tensor(3.0, requires_grad=True)
    (plain,) = torch.autograd.grad(Square.apply(x) * x, x)
    (gradient,) = torch.autograd.grad(Square.apply(x) * x, x, create_graph=True)
    assert plain == gradient == 27.0
    assert not plain.requires_grad
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.backward()
