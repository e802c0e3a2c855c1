"""Measure the peak memory of a few steps, in this process or in a fresh one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from bistil_ds.benchmarking.harness.own_process import run_in_own_process

MiB = 2**20


@dataclass
class Peak:
    """Memory of a process in bytes: resident on a CPU, allocated by PyTorch on a GPU.

    Attributes:
        empty: before `build` ran, with the libraries alone; 0 on a GPU.
        baseline: after `build`, before the first step.
        peak: the most while the steps ran.
        build_seconds: how long `build` took.
        reserved: the most that the GPU's caching allocator held; None on a CPU.
    """

    empty: int
    baseline: int
    peak: int
    build_seconds: float
    reserved: int | None = None

    @property
    def own(self) -> int:
        """Return the bytes of the peak without those of the libraries."""
        return self.peak - self.empty

    def in_mib(self) -> dict[str, float]:
        """Return `empty`, `baseline` and `peak` in MiB, as fields of a record's row."""
        return {f"{name}_mib": getattr(self, name) / MiB for name in ("peak", "baseline", "empty")}


def peak_in_own_process(
    build: Callable[..., Callable[[], object]], *arguments: object, steps: int = 2, device: str | None = None
) -> Peak:
    """Return the peak memory of `steps` calls of the function that `build(*arguments)` returns, in a fresh process.

    A process that was used before may still hold memory of an earlier peak, which would hide a lower one. `build` and
    its arguments must pickle.

    Args:
        device: the GPU whose memory is counted if `build` starts CUDA, such as `cuda:1`; None means the current one.
    """
    found: Peak = run_in_own_process(_measure, build, arguments, steps, device, torch.get_num_threads())
    return found


def _measure(
    build: Callable[..., Callable[[], object]],
    arguments: tuple[object, ...],
    steps: int,
    device: str | None,
    threads: int,
) -> Peak:
    torch.set_num_threads(threads)
    return peak_of(lambda: build(*arguments), steps, device)


def peak_of(build: Callable[[], Callable[[], object]], steps: int, device: str | None = None) -> Peak:
    """Return the peak memory, in this process, of `steps` calls of the function that `build()` returns.

    If this process has used CUDA when `build` returns, memory of the GPU `device` is counted; None means the current
    GPU. Otherwise resident memory is counted.
    """
    empty = psutil.Process().memory_info().rss
    started = time.perf_counter()
    step = build()
    on_gpu = torch.cuda.is_initialized()
    if on_gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        empty, baseline = 0, torch.cuda.memory_allocated(device)
    else:
        _forget_resident_peak()
        baseline = psutil.Process().memory_info().rss
    for _ in range(steps):
        step()
    if on_gpu:
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return Peak(empty, baseline, allocated, seconds, reserved)
    return Peak(empty, baseline, resident_peak(), seconds)


def _forget_resident_peak() -> None:
    """Reset the peak that Linux records, so that it leaves out `build`. If the system forbids this, do nothing."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def resident_peak() -> int:
    """Return the most bytes resident in this process so far, which Linux records as VmHWM.

    `ru_maxrss` would not do: after a spawn it may be the parent's.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")
