"""Dtypes in which the losses compute and keep gradients, and the precision of their products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

ROUNDING = 2.5e-7  # relative difference that rounding may cause: about twice the spacing of fp32 numbers


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return fp32 for fp32, bf16 and fp16 inputs; float64 stays, so that `gradcheck` can test the losses."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def kept_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a gradient is kept until backward: the input's, but fp32 for fp16.

    The range of fp16 is too small for a gradient that is not yet multiplied by the loss scale.
    """
    return torch.float32 if dtype == torch.float16 else dtype


def scaled(gradient: Tensor, upstream: Tensor, dtype: torch.dtype, prepared: float = 1.0) -> Tensor:
    """Return `gradient * upstream / prepared` in `dtype`, for a gradient saved for backward and a scalar `upstream`.

    `prepared` is the upstream gradient that `gradient` was already multiplied by. The product is computed in fp32
    (float64 for float64), because fp16 cannot hold a usual loss scale.

    The result may be `gradient` itself if that has this dtype already and nobody reads it again: unchanged if
    `upstream` is on a CPU and equals `prepared`, or else multiplied in place if it is fp32 or float64. In all other
    cases the result is a new tensor.
    """
    if gradient.dtype == dtype and may_be_overwritten(gradient):
        if upstream.is_cpu and is_one(float(upstream) / prepared):
            return gradient
        if dtype == compute_dtype(dtype):
            return gradient.mul_(upstream / prepared)
    return (gradient.to(compute_dtype(dtype)) * (upstream / prepared)).to(dtype)


def is_one(factor: float) -> bool:
    """Return whether `factor` is 1 up to rounding.

    Two ways to compute one fp32 number, such as w / P and w · (1 / P), may round differently.
    """
    return abs(factor - 1.0) <= ROUNDING


def may_be_overwritten(saved: Tensor) -> bool:
    """Return whether the running backward pass is the last through its graph, so that nobody reads `saved` again."""
    if type(saved) is not Tensor:  # a compiler traces the pass; it needs functions without side effects
        return False
    is_kept = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return is_kept is not None and not is_kept()


@contextmanager
def ieee_products() -> Iterator[None]:
    """Compute fp32 matrix products on CUDA without TF32 in this context, even where the program allows TF32."""
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
    """Return a context in which autocast is off, so that products keep the dtype of their inputs."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()  # the meta device has no autocast
