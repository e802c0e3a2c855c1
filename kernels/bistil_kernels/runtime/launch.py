"""Kernels launched again without the host time of finding their machine code again.

Triton looks at every argument of every launch to choose among the machine codes it has compiled. Here all that may
decide its choice is a key, and what it chose is kept beside it. Left to Triton each time: tensors whose address is no
multiple of 16, interpreted kernels, launches that somebody watches or debugs, and versions of Triton that this was not
read for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import triton
from torch import Tensor
from triton import knobs
from triton.compiler import CompiledKernel
from triton.runtime import driver
from triton.runtime.jit import JITFunction

READ = ("3.6", "3.7")  # versions whose choice of machine code and whose launcher are as described here
MOST_NUMBERS = 1 << 16  # of which is remembered what they are to Triton

_IS_READ = ".".join(triton.__version__.split(".")[:2]) in READ


class _Kinds(dict[int, int]):
    """What Triton compiles for of an integer: whether it is 1, a multiple of 16, and within 32 and 64 bits."""

    def __missing__(self, x: int) -> int:
        kind = (x == 1) + 2 * (x % 16 == 0) + 4 * (-(2**31) <= x < 2**31) + 8 * (x < 2**63)
        if len(self) < MOST_NUMBERS:
            self[x] = kind
        return kind


_kind = _Kinds().__getitem__


class Launch:
    """Launches of one kernel with the same constants.

    Args:
        kernel: a `triton.jit` function. Its run-time arguments are pointers, then integers, then fp32 numbers.
        constants: its `tl.constexpr` arguments, and Triton's options such as `num_warps`.
    """

    def __init__(self, kernel: Any, **constants: Any) -> None:
        self.kernel, self.constants = kernel, constants
        self._kept: dict[object, tuple[Any, tuple[None, ...]]] = {}

    def __call__(
        self,
        grid: tuple[int, ...],
        pointers: tuple[Tensor | tuple[Tensor, ...] | None, ...],
        integers: tuple[int, ...] = (),
        floats: tuple[float, ...] = (),
    ) -> None:
        """`kernel[grid](*pointers, *integers, *floats, **constants)` on the current device and stream."""
        if not _decides_alone(self.kernel):
            self.kernel[grid](*pointers, *integers, *floats, **self.constants)
            return
        device = driver.active.get_current_device()
        kinds: list[object] = [device, *map(_kind, integers)]
        addresses = 0
        for x in pointers:
            if x is None:
                kinds.append(None)
            elif x.__class__ is tuple:
                kinds.append(len(x))
                for y in x:
                    addresses |= y.data_ptr()
                    kinds.append(y.dtype)
            else:
                addresses |= x.data_ptr()  # type: ignore[union-attr]
                kinds.append(x.dtype)  # type: ignore[union-attr]
        key = tuple(kinds)
        found = self._kept.get(key)
        if found is None or addresses % 16:
            compiled = self.kernel[grid](*pointers, *integers, *floats, **self.constants)
            if not addresses % 16:
                self._keep(key, compiled, integers, floats, len(pointers))
            return
        compiled, blanks = found
        programs = (*grid, 1, 1)[:3]
        stream = driver.active.get_current_stream(device)
        code = compiled.function, compiled.packed_metadata
        nobody = None, None, None  # watches: no metadata for hooks, and no hooks
        compiled.run(*programs, stream, *code, *nobody, *pointers, *integers, *floats, *blanks)

    def _keep(
        self, key: object, compiled: Any, integers: tuple[int, ...], floats: tuple[float, ...], pointers: int
    ) -> None:
        is_cuda = isinstance(compiled, CompiledKernel) and compiled.metadata.target.backend == "cuda"
        rest = self.kernel.params[pointers + len(integers) + len(floats) :]
        typed = all(type(x) is int for x in integers) and all(type(x) is float for x in floats)
        if is_cuda and typed and all(x.is_constexpr for x in rest):  # the launcher passes over constants
            self._kept[key] = compiled, (None,) * len(rest)


@lru_cache(maxsize=None, typed=True)
def launch_of(kernel: Any, **constants: Any) -> Launch:
    """The same `Launch` every time, for what is only known when it is called."""
    return Launch(kernel, **constants)


def _decides_alone(kernel: Any) -> bool:
    """Whether nothing but the arguments decides what a launch of it does."""
    runtime = knobs.runtime
    return (
        _IS_READ
        and isinstance(kernel, JITFunction)  # not under the interpreter
        and not kernel.pre_run_hooks
        and not runtime.debug
        and not _watches(runtime.launch_enter_hook)
        and not _watches(runtime.launch_exit_hook)
        and not getattr(runtime, "add_stages_inspection_hook", None)
        and not getattr(knobs.compilation, "instrumentation_mode", None)
    )


def _watches(hook: Any) -> bool:
    return hook is not None and bool(getattr(hook, "calls", True))
