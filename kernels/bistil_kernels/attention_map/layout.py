"""Queries and keys, and the memory layout of their gradients."""

from __future__ import annotations

import torch
from torch import Tensor

QueriesKeys = tuple[Tensor, Tensor]


def gradient_like(x_BHTd: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an empty [B, H, T, d] with the memory layout [B, T, H, d], which suits the backward of linear layers."""
    B, H, T, d = x_BHTd.shape
    return torch.empty(B, T, H, d, dtype=dtype, device=x_BHTd.device).transpose(1, 2)
