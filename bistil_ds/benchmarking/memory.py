"""Peak memory of one way, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch


@dataclass
class Peak:
    """Bytes: `baseline` with everything loaded, `peak` while it ran. Resident memory on CPU, allocated on CUDA."""

    baseline: int
    peak: int


def peak_in_own_process(build: Callable[..., Callable[[], object]], *arguments: object, steps: int = 2) -> Peak:
    """Peak of `steps` calls of `build(*arguments)`, in a fresh process; `build` must be importable.

    A fresh one, because memory that a process once held is not always given back, and would hide the next peak.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, build, arguments, steps, torch.get_num_threads()).result()


def _measure(
    build: Callable[..., Callable[[], object]], arguments: tuple[object, ...], steps: int, threads: int
) -> Peak:
    torch.set_num_threads(threads)
    step = build(*arguments)
    on_gpu = torch.cuda.is_initialized()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        baseline = torch.cuda.memory_allocated()
    else:
        baseline = psutil.Process().memory_info().rss
    for _ in range(steps):
        step()
    return Peak(baseline, torch.cuda.max_memory_allocated() if on_gpu else _resident_peak())


def _resident_peak() -> int:
    """High-water mark of this process alone; `ru_maxrss` would still hold the parent's after a spawn."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")
