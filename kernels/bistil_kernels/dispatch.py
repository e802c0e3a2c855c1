"""Which tensors the Triton kernels serve."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def on_triton(tensors: Iterable[Tensor]) -> bool:
    """Whether all of these (at least one) are on CUDA devices and none is float64: the references serve the rest."""
    tensors = list(tensors)
    return bool(tensors) and all(x.is_cuda and x.dtype != torch.float64 for x in tensors)
