"""The dtypes the losses compute and keep gradients in."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """fp32 for fp32, bf16 and fp16 inputs; float64 stays (so that `gradcheck` can judge the losses)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def kept_dtype(dtype: torch.dtype) -> torch.dtype:
    """What a gradient is kept in until backward: the input's dtype, but fp32 for fp16, whose range is too small for a
    gradient that has not met its loss scale yet."""
    return torch.float32 if dtype == torch.float16 else dtype


def scaled(gradient: Tensor, upstream: Tensor, dtype: torch.dtype) -> Tensor:
    """`gradient * upstream` in `dtype`; the product is taken in fp32, as fp16 cannot hold a usual loss scale."""
    return (gradient.to(compute_dtype(dtype)) * upstream).to(dtype)
