"""The rule for every kernel: as near to float64 as plain PyTorch in the same dtype, within a small allowance."""

from __future__ import annotations

import torch
from torch import Tensor

# Dtype → how much larger a kernel's error may be than plain PyTorch's; errors are shares of the largest exact value.
ALLOWANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}


def error(x: Tensor, exact: Tensor) -> float:
    """Return the largest difference over the largest exact value; infinity if `x` has a NaN that `exact` lacks."""
    if not exact.numel():
        return 0.0
    scale = exact.abs().max().clamp(min=1e-30)
    return float(((x.double() - exact).abs().max() / scale).nan_to_num(torch.inf))
