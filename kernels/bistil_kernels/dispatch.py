"""Which tensors the Triton kernels serve."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


def on_triton(tensors: Iterable[Tensor]) -> bool:
    """Whether all of these (at least one) are on CUDA devices and none is float64, and Triton is installed: the
    references serve the rest."""
    tensors = list(tensors)
    return bool(tensors) and all(x.is_cuda and x.dtype != torch.float64 for x in tensors) and _has_triton()


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
