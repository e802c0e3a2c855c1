"""Give back memory the C library keeps: on a CPU, freed activations leave holes in the heap that raise the peak."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch


@functools.lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim  # glibc only
    except (OSError, AttributeError):
        return None
    return trim


def release_unused(device: torch.device) -> None:
    """Return the heap's free pages to the system; nothing to do on a GPU or without glibc."""
    if device.type == "cpu" and (trim := _malloc_trim()) is not None:
        trim(0)
