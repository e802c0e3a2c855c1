"""Time steps on a device, and measure its copy bandwidth and matrix-product rate for comparison."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from bistil_ds.benchmarking.harness.timing import time_call

SLEEP_CYCLES_A_SECOND = 2e9  # a GPU's clock, roughly; the sleep need only outlast the launches
LONGEST_SLEEP = 0.05  # seconds
INFINITY_CACHE = 256 * 2**20  # bytes; behind the L2 cache of AMD's MI300 to MI355, and unknown to PyTorch
Clock = Callable[[Callable[[], object], torch.device], float]


class EventClock:
    """Clock that empties the caches and then returns the seconds between two CUDA events around a call.

    Without `queue_full` the device is idle before the call, so the host's time to launch kernels counts. With
    `queue_full` only the device's time counts: the device sleeps, for at most LONGEST_SLEEP, while the host launches
    the kernels. An extra call beforehand shows how long it must sleep. A wait for the device within the call still
    counts.

    Caches are emptied by reading a large buffer. After writing one, they would still be sending its data to memory
    during the call.
    """

    def __init__(self, device: torch.device, queue_full: bool) -> None:
        self.queue_full = queue_full
        # twice the caches' bytes
        self._flush = torch.zeros(cached_bytes(device) // 2, dtype=torch.float32, device=device)

    def __call__(self, step: Callable[[], object], device: torch.device) -> float:
        with torch.cuda.device(device):  # events are recorded, and the sleep is queued, on the current device
            return self._time(step, device)

    def _time(self, step: Callable[[], object], device: torch.device) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        wait = 0.0
        if self.queue_full:
            torch.cuda.synchronize(device)
            begun = time.perf_counter()
            step()
            wait = min(2 * (time.perf_counter() - begun), LONGEST_SLEEP)
            torch.cuda.synchronize(device)
        self._flush.sum()
        if wait:
            torch.cuda._sleep(int(wait * SLEEP_CYCLES_A_SECOND))
        else:  # the host must not launch kernels while the cache is still being emptied
            torch.cuda.synchronize(device)
        start.record()
        step()
        end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / 1000


def cached_bytes(device: torch.device) -> int:
    """Return how many bytes the caches of a GPU hold that all its multiprocessors share."""
    l2 = int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 128 * 2**20))
    return l2 if torch.version.hip is None else max(l2, INFINITY_CACHE)


def clocks(device: torch.device) -> tuple[Clock, Clock]:
    """Return two clocks: the first also counts the time of the host's launches, the second counts the device's only.

    On a CPU both are `time_call`, which measures wall time.
    """
    if device.type == "cuda":
        return EventClock(device, queue_full=False), EventClock(device, queue_full=True)
    return time_call, time_call


def copy_bandwidth(device: torch.device, clock: Clock) -> float:
    """Measure the bytes read plus the bytes written, per second, while one large buffer is copied to another."""
    size = 2**30 if device.type == "cuda" else 2**27
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    return 2 * size / _median(lambda: target.copy_(source), device, clock)


def product_rate(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """Measure the operations a second of a large square matrix product; a multiply-add counts as two."""
    size = 8192 if device.type == "cuda" and dtype.itemsize == 2 else 4096 if device.type == "cuda" else 768
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _median(lambda: a @ b, device, clock)


def _median(step: Callable[[], object], device: torch.device, clock: Clock) -> float:
    for _ in range(3):
        step()
    return statistics.median(clock(step, device) for _ in range(10))


def poison(device: torch.device) -> None:
    """Fill memory with NaN and free it. New tensors likely get this memory; entries that no kernel writes stay NaN."""
    torch.full((2**28 if device.type == "cuda" else 2**22,), torch.nan, device=device)
