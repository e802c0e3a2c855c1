"""Which tensors the Triton kernels serve, and on which way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cache, wraps
from importlib.util import find_spec
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable as torchs_once_differentiable
from torch.nn import Parameter

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_triton(tensors: Iterable[Tensor]) -> bool:
    """Whether all of these (at least one) are on CUDA devices and none is float64, and Triton is installed: the
    references serve the rest."""
    tensors = list(tensors)
    some = len(tensors) > 0  # not `bool`, which torch 2.11's compiler does not trace
    return some and all(x.is_cuda and x.dtype != torch.float64 for x in tensors) and _has_triton()


def is_direct(tensors: Iterable[Tensor]) -> bool:
    """Whether a call with these may go to the kernels by a plain autograd function: nothing traces, transforms or
    watches it. An operator of lists of tensors costs 0.1 to 0.2 ms more a pass, longer than a small batch's kernels."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return False
    plain = all(type(x) in (Tensor, Parameter) for x in tensors)
    return plain and torch._C._functorch.peek_interpreter_stack() is None


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """torch's, at no cost to a backward pass that nobody differentiates."""
    checked = torchs_once_differentiable(backward)

    @wraps(backward)
    def run(ctx: Any, *upstream: Any) -> Any:
        return (checked if torch.is_grad_enabled() else backward)(ctx, *upstream)

    return run


def outside_compiled_code(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Apply `torch.compiler.disable` when the function is called: applied to a definition, it imports torch's compiler,
    and that imports Triton, with the module that defines the function."""

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return torch.compiler.disable(function)(*args, **kwargs)

    return run


@cache
def _has_triton() -> bool:
    """Looked for once, and missed aloud once."""
    found = find_spec("triton") is not None
    if not found:
        warnings.warn(
            "bistil_kernels: triton is not installed, so PyTorch references serve CUDA tensors: pip install triton",
            stacklevel=4,
        )
    return found
