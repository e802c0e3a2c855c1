"""The dtypes the losses compute and keep gradients in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

ROUNDING = 2.5e-7


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """fp32 for fp32, bf16 and fp16 inputs; float64 stays (so that `gradcheck` can judge the losses)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def kept_dtype(dtype: torch.dtype) -> torch.dtype:
    """What a gradient is kept in until backward: the input's dtype, but fp32 for fp16, whose range is too small for a
    gradient that has not met its loss scale yet."""
    return torch.float32 if dtype == torch.float16 else dtype


def scaled(gradient: Tensor, upstream: Tensor, dtype: torch.dtype, prepared: float = 1.0) -> Tensor:
    """`gradient * upstream / prepared` in `dtype`, for a gradient saved for backward; `upstream` is a scalar.

    The product is taken in fp32, as fp16 cannot hold a usual loss scale. In the last backward pass it takes no memory
    where the dtype allows, and on a CPU no time where the upstream gradient is the one it was prepared for.
    """
    if gradient.dtype == dtype and may_be_overwritten(gradient):
        if upstream.is_cpu and is_one(float(upstream) / prepared):
            return gradient
        if dtype == compute_dtype(dtype):
            return gradient.mul_(upstream / prepared)
    return (gradient.to(compute_dtype(dtype)) * (upstream / prepared)).to(dtype)


def is_one(factor: float) -> bool:
    """Up to the rounding of two ways to compute one fp32 number, such as w / P and w · (1 / P)."""
    return abs(factor - 1.0) <= ROUNDING


def may_be_overwritten(saved: Tensor) -> bool:
    """Whether the running backward pass is the last through its graph, so that what was saved is of no more use."""
    if type(saved) is not Tensor:  # traced by a compiler, which wants functions without side effects
        return False
    is_kept = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return is_kept is not None and not is_kept()


@contextmanager
def ieee_products() -> Iterator[None]:
    """fp32 matrix products on CUDA are not rounded to TF32 inside, whatever the program allows outside."""
    setting = torch.backends.cuda.matmul
    before = setting.fp32_precision
    if before == "tf32":
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        if before == "tf32":
            setting.fp32_precision = before


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Products inside keep their inputs' dtype, whatever the program allows outside."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()  # the meta device
