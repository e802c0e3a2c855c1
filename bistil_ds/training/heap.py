"""Return memory to the system: on a CPU, freed activations leave holes in the C library's heap that raise the peak."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

from torch import Tensor

WORTH_RELEASING = 8 * 2**20  # bytes of one state; below this, trimming costs more than it saves


@functools.lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim  # glibc only
    except (OSError, AttributeError):
        return None
    return trim


def trim_heap(state: Tensor) -> None:
    """Return the heap's free pages to the system if `state`, one of the tensors just worked on, is large.

    Do nothing on a GPU, without glibc, or for a small state. To get the pages back costs a few per cent of a step's
    time, and for small states trimming saves next to nothing. At 8x512 tokens of width 768, trimming lowered a step's
    peak memory from 1.20 to 1.13 times that of a step without distillation losses.
    """
    if state.device.type == "cpu" and state.nbytes >= WORTH_RELEASING and (trim := _malloc_trim()) is not None:
        trim(0)
