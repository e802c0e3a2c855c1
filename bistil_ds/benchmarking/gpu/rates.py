"""Part (a): name the device, and measure its copy bandwidth and the rate of its matrix products."""

from __future__ import annotations

import torch

from bistil_ds.benchmarking.gpu.setting import Emit, Setting
from bistil_ds.benchmarking.kernels.clock import clocks, copy_bandwidth, product_rate


def measure(setting: Setting, emit: Emit) -> None:
    """Emit facts about the device, then its rates: bytes read and written a second, operations a second."""
    device = setting.device
    emit.finding({"name": "device", "facts": device_facts(device)})
    _, clock = clocks(device)
    emit.finding({"name": "copy bandwidth", "rate": copy_bandwidth(device, clock), "unit": "B/s"})
    dtype = torch.float32 if setting.rehearsal else torch.bfloat16
    name = f"matrix products in {str(dtype).removeprefix('torch.')}"
    emit.finding({"name": name, "rate": product_rate(device, dtype, clock), "unit": "FLOP/s"})


def device_facts(device: torch.device) -> dict[str, object]:
    """Return what PyTorch knows of a GPU; of a CPU, the record of the run says enough."""
    if device.type != "cuda":
        return {"name": device.type}
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory_bytes": found.total_memory,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
    }
