"""Meters of the joules of a stretch of time: zeus where it is installed, else our own reading of the counters.

Only `EstimatingMeter` estimates.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bistil_ds.training.energy import Counter, energy_counter, energy_unavailable, zeus_is_installed

POLL_SECONDS = 0.02  # short enough to see 100 updates in two seconds, and hardly any work


@dataclass(frozen=True)
class Window:
    """Energy used between `begin` and `end`.

    Attributes:
        joules: joules of each part measured, such as "GPU 0", "package-0", "dram-0".
        updates: how often the slowest of the counters moved; None where that cannot be seen.
    """

    seconds: float
    joules: dict[str, float]
    updates: int | None

    @property
    def total(self) -> float:
        """Return the joules of all parts."""
        return sum(self.joules.values())


class Meter(Protocol):
    """Meter of one window at a time.

    Attributes:
        name: what it reads, for the record.
        is_estimate: whether it computes from a constant and reads nothing.
    """

    name: str
    is_estimate: bool

    def begin(self) -> None:
        """Start the window."""

    def end(self) -> Window:
        """End the window and return it."""


class CounterMeter:
    """Meter that reads counters all through the window, so that it misses no counter that wraps around."""

    is_estimate = False

    def __init__(self, counter: Counter) -> None:
        self.counter, self.name = counter, f"counters: {counter.measures}"

    def begin(self) -> None:
        """Start a thread that reads the counters."""
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._before, self._updates = self._joules(), [source.updates for source in self.counter.sources]
        self._started = time.perf_counter()
        self._reader.start()

    def end(self) -> Window:
        """Stop reading and return the window."""
        self._stop.set()
        self._reader.join()
        after, seconds = self._joules(), time.perf_counter() - self._started
        updates = min(source.updates - old for source, old in zip(self.counter.sources, self._updates))
        return Window(seconds, {name: after[name] - self._before[name] for name in after}, updates)

    def _joules(self) -> dict[str, float]:
        return {source.name: source.joules() for source in self.counter.sources}

    def _read(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self._joules()


class ZeusMeter:
    """Meter that uses `zeus.monitor.ZeusMonitor`."""

    is_estimate = False
    name = "zeus"

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def begin(self) -> None:
        """Open zeus' window."""
        self._monitor.begin_window("bistil_ds")

    def end(self) -> Window:
        """Close zeus' window and return ours."""
        found = self._monitor.end_window("bistil_ds")
        joules: dict[str, float] = {}
        for part, label in (("gpu_energy", "GPU"), ("cpu_energy", "package"), ("dram_energy", "dram")):
            joules |= {f"{label} {index}": value for index, value in (getattr(found, part, None) or {}).items()}
        return Window(found.time, joules, None)


class EstimatingMeter:
    """Meter that multiplies a given power by the time: it measures nothing."""

    is_estimate = True

    def __init__(self, watts: float) -> None:
        self.watts, self.name = watts, f"ESTIMATE: {watts:g} W times the time"

    def begin(self) -> None:
        self._started = time.perf_counter()

    def end(self) -> Window:
        seconds = time.perf_counter() - self._started
        return Window(seconds, {"estimate": seconds * self.watts}, None)


def find_meter() -> Meter | str:
    """Return the meter of this machine, or a line that says why there is none and begins with "unavailable"."""
    if zeus_is_installed():
        try:
            return _zeus()
        except Exception as error:  # zeus raises a different error for every kind of missing device
            return f"unavailable: zeus: {error}"
    counter = energy_counter()
    return CounterMeter(counter) if counter else str(energy_unavailable())


def _zeus() -> ZeusMeter:
    """Return a meter of this process's GPUs and all CPUs; raise zeus' error, or RuntimeError, where none is counted."""
    from zeus.monitor import ZeusMonitor

    meter = ZeusMeter(ZeusMonitor(gpu_indices=list(range(torch.cuda.device_count()))))
    meter.begin()
    if not meter.end().joules:
        raise RuntimeError("no counter")
    return meter
