"""Measure the joules used in a window of time.

The package zeus reads the energy counters if it is installed, else `CounterMeter` does. `EstimatingMeter` reads none.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from bistil_ds.training.energy import Counter, energy_counter, energy_unavailable, zeus_is_installed

POLL_SECONDS = 0.02  # time between two readings; up to 100 changes of a counter are then seen in two seconds


@dataclass(frozen=True)
class Window:
    """Energy used between a meter's `begin` and `end`.

    Attributes:
        seconds: the time between them.
        joules: device → its joules. Devices are called "GPU 0", "package-0" (a CPU), "dram-0" and so on; an estimate
            has one entry, "estimate".
        updates: number of changes of the counter that changed least; None if the meter cannot count them.
    """

    seconds: float
    joules: dict[str, float]
    updates: int | None

    @property
    def total(self) -> float:
        """Return the joules of all devices together."""
        return sum(self.joules.values())


class Meter(Protocol):
    """Meter of one window at a time.

    Attributes:
        name: text for the record that says where the joules come from.
        is_estimate: whether the joules are a given power times the time; no counter is read then.
    """

    name: str
    is_estimate: bool

    def begin(self) -> None:
        """Start the window."""

    def end(self) -> Window:
        """End the window and return it."""


class CounterMeter:
    """Meter that reads hardware counters every POLL_SECONDS, so that no overflow of a counter is missed."""

    is_estimate = False

    def __init__(self, counter: Counter) -> None:
        self.counter, self.name = counter, f"counters: {counter.measures}"

    def begin(self) -> None:
        """Read the counters, and start a thread that goes on reading them."""
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._before, self._updates = self._joules(), [source.updates for source in self.counter.sources]
        self._started = time.perf_counter()
        self._reader.start()

    def end(self) -> Window:
        """Stop the thread, read the counters once more and return the window."""
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
        """Open a window of zeus."""
        self._monitor.begin_window("bistil_ds")

    def end(self) -> Window:
        """Close zeus' window and return its joules as a `Window`."""
        found = self._monitor.end_window("bistil_ds")
        joules: dict[str, float] = {}
        for part, label in (("gpu_energy", "GPU"), ("cpu_energy", "package"), ("dram_energy", "dram")):
            joules |= {f"{label} {index}": value for index, value in (getattr(found, part, None) or {}).items()}
        return Window(found.time, joules, None)


class EstimatingMeter:
    """Meter that measures nothing: it multiplies a given power in watts by the time."""

    is_estimate = True

    def __init__(self, watts: float) -> None:
        self.watts, self.name = watts, f"ESTIMATE: {watts:g} W times the time"

    def begin(self) -> None:
        self._started = time.perf_counter()

    def end(self) -> Window:
        seconds = time.perf_counter() - self._started
        return Window(seconds, {"estimate": seconds * self.watts}, None)


def find_meter(device: torch.device) -> Meter | str:
    """Return a meter that covers `device`; without one, a line that begins with "unavailable" and says why.

    On a GPU, the joules of the CPU packages are counted too where they can be.
    """
    if zeus_is_installed():
        try:
            return _zeus(device)
        except Exception as error:  # zeus raises a different error for every kind of missing device
            return f"unavailable: zeus: {error}"
    counter = energy_counter(device)
    return CounterMeter(counter) if counter else str(energy_unavailable(device))


def _zeus(device: torch.device) -> ZeusMeter:
    """Make a meter of all CPUs and, if `device` is a GPU, of the GPUs that this process may use; try it once.

    Raises:
        RuntimeError: zeus has no counter of such a device. Errors of zeus pass through.
    """
    from zeus.monitor import ZeusMonitor

    gpus, kind = ([], "package") if device.type == "cpu" else (list(range(torch.cuda.device_count())), "GPU")
    meter = ZeusMeter(ZeusMonitor(gpu_indices=gpus))
    meter.begin()
    if not any(name.startswith(kind) for name in meter.end().joules):
        raise RuntimeError(f"no {kind} counter")
    return meter
