"""Energy counters of this machine: one for each visible GPU, and RAPL's for each CPU package and its memory.

If the package zeus is installed, it reads all counters. Otherwise this module reads those of NVIDIA and RAPL itself.
Energy is never estimated: without a counter that covers the device that computes, there is no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")


@dataclass
class Source:
    """One hardware counter.

    Attributes:
        name: such as "GPU 0" or "package-0".
        read: returns the raw count.
        joules_per_count: the unit of the raw count.
        wraps_at: the count after which the counter starts again from 0; None where it never does.
        updates: how often a reading differed from the one before.
    """

    name: str
    read: Callable[[], int]
    joules_per_count: float
    wraps_at: int | None = None

    def __post_init__(self) -> None:
        self._last, self._counts, self.updates = self.read(), 0, 0

    def joules(self) -> float:
        """Return the joules counted since construction."""
        now = self.read()
        step = now - self._last
        if step < 0 and self.wraps_at is not None:
            step += self.wraps_at + 1
        self._last, self._counts, self.updates = now, self._counts + step, self.updates + (step != 0)
        return self._counts * self.joules_per_count


class Counter:
    """Sum of hardware counters, in joules; it includes the energy that other programs use.

    Call `joules` at least every few minutes: if a RAPL counter runs through its whole range between two readings, the
    sum is too low.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        self.measures = ", ".join(source.name for source in sources)

    def joules(self) -> float:
        """Return the joules counted since the counter was made."""
        return sum(source.joules() for source in self.sources)


def energy_counter(device: torch.device) -> Counter | None:
    """Return a counter over `energy_sources`; None if there are none (`energy_unavailable` says why)."""
    sources, _ = energy_sources(device)
    return Counter(sources) if sources else None


def energy_unavailable(device: torch.device) -> str | None:
    """Return, in one line, why this machine has no energy counter of `device`; None if it has one."""
    _, reason = energy_sources(device)
    return reason and f"unavailable: {reason}"


def energy_sources(device: torch.device) -> tuple[list[Source], str | None]:
    """Return (the sources that cover a device, None), or ([], the reason for none).

    A CPU is covered by the sources of the CPU packages and their memory; a GPU by those of the GPUs, to which those of
    the CPU packages are added where there are any.
    """
    of_cpus, of_gpus = (zeus_cpus, zeus_gpus) if zeus_is_installed() else (rapl_sources, gpu_sources)
    cpus, no_cpu = of_cpus()
    if device.type == "cpu":
        return cpus, no_cpu
    gpus, no_gpu = of_gpus()
    return (gpus + cpus, None) if gpus else ([], no_gpu)


def zeus_is_installed() -> bool:
    """Return whether the package zeus is installed, which then reads the counters in our place."""
    return find_spec("zeus") is not None


def zeus_gpus() -> tuple[list[Source], str | None]:
    """Return (a source in millijoules for each GPU that this process may use, None), or ([], the reason for none)."""
    from zeus.device import get_gpus

    try:
        count = get_gpus().get_total_energy_consumption
        return [Source(f"GPU {i}", partial(count, i), 1e-3) for i in range(torch.cuda.device_count())], None
    except Exception as error:  # zeus raises a different error for every kind of missing device
        return [], _zeus_says(error)


def zeus_cpus() -> tuple[list[Source], str | None]:
    """Return (a source in millijoules for each CPU package and its memory, None), or ([], the reason for none).

    Zeus runs a process of its own to follow RAPL counters that wrap around.
    """
    from zeus.device import get_cpus

    sources: list[Source] = []
    try:
        for index, cpu in enumerate(get_cpus().cpus):
            parts = ["package"] + ["dram"] * cpu.supports_get_dram_energy_consumption()
            sources += [Source(f"{part}-{index}", _zeus_reader(cpu, part), 1e-3) for part in parts]
    except Exception as error:
        return [], _zeus_says(error)
    return sources, None if sources else "zeus: no package counter"


def _zeus_says(error: Exception) -> str:
    return f"zeus: {' '.join(str(error).split())}"


def _zeus_reader(cpu: Any, part: str) -> Callable[[], int]:
    name = "cpu_mj" if part == "package" else "dram_mj"
    return lambda: round(getattr(cpu.get_total_energy_consumption(), name))


def gpu_sources() -> tuple[list[Source], str | None]:
    """Return (a source in millijoules for each GPU that this process may use, None), or ([], the reason for none)."""
    if not torch.cuda.is_available():
        return [], "no NVIDIA GPU"
    if torch.version.hip is not None:
        return [], "the counter of an AMD GPU needs the package zeus"
    try:
        import pynvml
    except ImportError:
        return [], "GPU counters need the package nvidia-ml-py"
    sources = []
    try:
        pynvml.nvmlInit()
        for index in range(torch.cuda.device_count()):
            # By UUID, because NVML numbers all GPUs of the machine, but CUDA only the visible ones.
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
            sources.append(Source(f"GPU {index}", _nvml_reader(handle), 1e-3))
    except pynvml.NVMLError as error:
        return [], f"the GPU's energy counter cannot be read ({error})"
    return sources, None


def _nvml_reader(handle: object) -> Callable[[], int]:
    import pynvml

    return lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))


def rapl_sources(powercap: Path = POWERCAP) -> tuple[list[Source], str | None]:
    """Return (a source in microjoules for each CPU package and memory domain, None), or ([], the reason for none)."""
    sources = []
    try:
        for domain in sorted(powercap.glob("intel-rapl:*")):  # AMD's counters have this name too
            name = (domain / "name").read_text().strip()
            if name == "dram":  # the memory of every package has this name
                name = f"dram-{domain.name.split(':')[1]}"
            elif not name.startswith("package"):  # other domains overlap the package, and would be counted twice
                continue
            wraps_at = int((domain / "max_energy_range_uj").read_text())
            sources.append(Source(name, _file_reader(domain / "energy_uj"), 1e-6, wraps_at))
    except (OSError, ValueError) as error:
        return [], f"RAPL cannot be read ({error})"
    return sources, None if sources else "no RAPL counter"


def _file_reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())
