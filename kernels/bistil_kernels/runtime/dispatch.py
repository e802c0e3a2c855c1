"""Choose between Triton kernels and PyTorch references, and between a direct call and a registered operator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable as torchs_once_differentiable
from torch.nn import Parameter

from bistil_kernels.runtime import choice

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_take_cpu_tensors = False


def runs_triton(family: str, tensors: Iterable[Tensor]) -> bool:
    """Return whether a family's Triton kernels serve these tensors; otherwise its references do.

    The kernels do if the choice (see `bistil_kernels.use`) allows it, and they can take the tensors.

    Raises:
        ValueError: BISTIL_KERNELS has a value that is no choice.
        ImportError: the choice is "triton", kernels could take the tensors, and Triton is not installed.
    """
    return choice.allows(family) and on_triton(tensors)


def on_triton(tensors: Iterable[Tensor]) -> bool:
    """Return whether Triton kernels can take these tensors.

    They can if there is at least one tensor, all are on CUDA devices, none is float64, and Triton is installed. See
    `taking_cpu_tensors` too.
    """
    tensors = list(tensors)
    some = len(tensors) > 0  # not `bool`, which torch 2.11's compiler does not trace
    if _take_cpu_tensors:
        return some and all(x.dtype != torch.float64 for x in tensors)
    return some and all(x.is_cuda and x.dtype != torch.float64 for x in tensors) and _has_triton()


@contextmanager
def taking_cpu_tensors() -> Iterator[None]:
    """Let kernels take CPU tensors too in this context; Triton's interpreter must run them.

    It does if TRITON_INTERPRET=1 was set in the environment before Triton was first imported.
    """
    global _take_cpu_tensors
    before, _take_cpu_tensors = _take_cpu_tensors, True
    try:
        yield
    finally:
        _take_cpu_tensors = before


def is_direct(tensors: Iterable[Tensor]) -> bool:
    """Return whether a call may skip the registered operator: nothing traces, transforms or intercepts the call.

    The call then runs a plain autograd function, which is faster. An operator on lists of tensors costs 0.1 to 0.2 ms
    more in each pass; for a small batch, that is more than its kernels take.
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    plain = all(type(x) in (Tensor, Parameter) for x in tensors)
    return plain and torch._C._functorch.peek_interpreter_stack() is None


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Apply torch's `once_differentiable`, which costs time, only where `backward` itself is to be differentiated."""
    checked = torchs_once_differentiable(backward)

    @wraps(backward)
    def run(ctx: Any, *upstream: Any) -> Any:
        return (checked if torch.is_grad_enabled() else backward)(ctx, *upstream)

    return run


def outside_compiled_code(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Apply `torch.compiler.disable` only when the function is called.

    Used as a decorator, `torch.compiler.disable` imports torch's compiler and Triton together with the function's
    module.
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return torch.compiler.disable(function)(*args, **kwargs)

    return run


@cache
def _has_triton() -> bool:
    """Return whether Triton is installed; look once, and warn once if it is not.

    Raises:
        ImportError: it is not, and the choice is "triton".
    """
    choice.chosen()
    found = choice.has_triton()
    if not found:
        warnings.warn(
            "bistil_kernels: triton is not installed, so PyTorch references serve CUDA tensors: pip install triton",
            stacklevel=4,
        )
    return found
