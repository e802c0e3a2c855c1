"""The dtype the losses compute in."""

from __future__ import annotations

import torch


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """fp32 for fp32, bf16 and fp16 inputs; float64 stays (so that `gradcheck` can judge the losses)."""
    return torch.float64 if dtype == torch.float64 else torch.float32
