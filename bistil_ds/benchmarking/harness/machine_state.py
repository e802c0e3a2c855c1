"""Read the state of the machine: clocks, driver, temperatures, load and threads."""

from __future__ import annotations

import os
from typing import Any

import psutil
import torch


def machine_state() -> dict[str, Any]:
    """Return the state now: load averages, free memory in bytes, clocks in MHz, temperatures in °C, state of the GPUs.

    A value that cannot be read is None. `gpus` is None without an NVIDIA GPU, or without NVML, NVIDIA's
    library for GPU states.
    """
    return {
        "cpu_mhz": _cpu_clocks(),
        "load_average": list(os.getloadavg()),
        "memory_available_bytes": psutil.virtual_memory().available,
        "cpu_temperature": _cpu_temperature(),
        "gpus": _gpus(),
    }


def all_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_counts() -> dict[str, Any]:
    """Return the number of torch's threads, and the environment variables that can set that number (None if unset)."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {"torch": torch.get_num_threads(), **{name: os.environ.get(name) for name in names}}


def _cpu_clocks() -> list[float] | None:
    try:
        return [round(one.current) for one in psutil.cpu_freq(percpu=True) or []] or None
    except (AttributeError, NotImplementedError, OSError):
        return None


def _cpu_temperature() -> float | None:
    """Return the temperature of the hottest CPU sensor, in °C; None without one."""
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError):
        return None
    readings = [one.current for name in ("coretemp", "k10temp", "zenpower") for one in sensors.get(name, [])]
    return max(readings, default=None)


def _gpus() -> list[dict[str, Any]] | None:
    """Return driver, clocks, temperature, power and persistence mode of each NVIDIA GPU; None without one or NVML."""
    if not torch.cuda.is_available() or torch.version.hip is not None:
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        driver = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # a missing pynvml and a missing NVML raise different errors
        return None
    return [{"driver": driver, **_gpu(handle)} for handle in handles]


def _gpu(handle: object) -> dict[str, Any]:
    import pynvml

    readings = {
        "sm_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "memory_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
        "temperature": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "power_watts": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        "persistence_mode": lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),
    }
    found: dict[str, Any] = {}
    for name, read in readings.items():
        try:
            found[name] = read()
        except pynvml.NVMLError:
            found[name] = None
    return found
