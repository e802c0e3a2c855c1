"""Define the flags of the scaling benchmark, and plan its run.

Bytes are computed from shapes, by what DeepSpeed holds and sends. Unless the run is quick, small models are then
measured on 1 and 2 ranks of this machine, and the error of the computed bytes is shown. Seconds need --tflops, --mfu
and --bandwidth_gb, and are marked as assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import explain, require_at_least_1
from bistil_ds.benchmarking.harness.own_process import RemoteError
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.models.shapes import LARGE, XLMR
from bistil_ds.benchmarking.scaling.compute import Speed, scaling_rows
from bistil_ds.benchmarking.scaling.zero_check import check
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError

TEACHERS = (XLMR, *LARGE)
CHECKS = {1: (512,), 2: (256, 384, 512)}  # ranks → widths; each at all stages


@dataclass
class Flags:
    """Flags of the scaling benchmark."""

    teacher: list[str] = field(default_factory=lambda: list(TEACHERS), metadata=explain("Teachers.", TEACHERS))
    gpus: list[int] = field(default_factory=lambda: [1, 8, 64, 256, 1024], metadata=explain("Numbers of GPUs."))
    batch: int = field(default=8, metadata=explain("Sequences a GPU."))
    length: int = field(default=256, metadata=explain("Tokens in a sequence."))
    tflops: float | None = field(default=None, metadata=explain("A GPU's bf16 rate, in TFLOP/s, for seconds."))
    mfu: float | None = field(default=None, metadata=explain("The share of it that is reached, such as 0.4."))
    bandwidth_gb: float | None = field(default=None, metadata=explain("GB/s a GPU sends."))
    quick: bool = field(default=False, metadata=explain("XLM-R-base alone, no check."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file goes."))


def speed_of(flags: Flags) -> Speed | None:
    """Return the GPU's speed that the flags state, or None; raise InputError if one of them is not above 0."""
    given = {"tflops": flags.tflops, "mfu": flags.mfu, "bandwidth_gb": flags.bandwidth_gb}
    if all(value is None for value in given.values()):
        return None
    for name, value in given.items():
        if value is None or not value > 0:
            raise InputError(f"--{name} {value}: seconds need --tflops, --mfu and --bandwidth_gb, each above 0")
    return Speed(1e12 * (flags.tflops or 0), flags.mfu or 0, 1e9 * (flags.bandwidth_gb or 0))


def plan(flags: Flags) -> Job:
    """Check the flags and plan the run."""
    require_at_least_1(flags, "batch", "length")
    if wrong := [count for count in flags.gpus if count < 1 or (count > 8 and count % 8)]:
        raise InputError(f"--gpus {wrong[0]}: expected 1 to 8, or whole nodes of 8")
    speed = speed_of(flags)
    startup.choose_accelerator()
    teachers, checks = (TEACHERS[:1], {}) if flags.quick else (flags.teacher, CHECKS)
    whole = len(teachers) + len(checks)

    def measure(result: ResultFile, tell: Tell) -> None:
        rows = result.content["rows"]
        for number, teacher in enumerate(teachers):
            tell(number / whole, teacher)
            rows += scaling_rows(teacher, flags.gpus, flags.batch, flags.length, speed)
        for number, (ranks, widths) in enumerate(checks.items(), len(teachers)):
            tell(number / whole, f"measuring ZeRO 0 to 3 on {ranks} rank{'s' if ranks > 1 else ''}")
            try:
                rows += check(ranks, [(stage, width) for width in widths for stage in range(4)])
            except RemoteError as error:
                rows.append({"stage": "0 to 3", "ranks": ranks, "unavailable": str(error)})
            result.save()

    return Job(torch.device("cpu"), measure, seeds={"weights and tokens": 0})
