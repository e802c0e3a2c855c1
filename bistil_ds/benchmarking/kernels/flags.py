"""Define the flags of the kernel benchmark, and plan its run.

On CUDA, the L2 cache is emptied before each call, and a case is timed twice, both times between two CUDA events. The
first time includes the host's launching of kernels, the second is the device's time alone. Copy bandwidth and
matrix-product rate are measured too. The share of them that a kernel reaches is computed from the second time. On a
CPU, the PyTorch references are measured instead of the kernels: at small sizes, in wall time, without memory.

A case is computed in several ways: by our kernel, by plain PyTorch and others. The first call of each way runs on
memory filled with NaN, and its results are compared with those of our kernel if the two should be equal.
The JSON has every sample; CSV and PNG lie beside it. Energy is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import choose_device, explain
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.kernels.cases import cases
from bistil_ds.benchmarking.kernels.rows import Bench
from bistil_ds.errors import InputError

SECONDS = {"full": 4.0, "quick": 2.0}  # a guess of a case's seconds, from drawing tensors to the last round
COMPILE_SECONDS = 20.0  # a guess of the seconds that `torch.compile` adds to a case


@dataclass
class Flags:
    """Flags of the kernel benchmark."""

    device: str | None = field(default=None, metadata=explain("cpu or cuda; a GPU where there is one."))
    quick: bool = field(default=False, metadata=explain("One size a kernel, under a minute."))
    compile: bool = field(default=False, metadata=explain("torch.compile of the eager losses too."))
    only: list[str] = field(
        default_factory=list, metadata=explain("Kernels to measure, such as SparseAdamW or 'hidden_state_loss mse'.")
    )
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the JSON, CSV and PNG go."))


def plan(flags: Flags) -> Job:
    """Choose the cases and estimate how long they take; raise InputError for a kernel that is not among them."""
    device = choose_device(flags.device)
    planned = cases(device, flags.quick)
    names = list(dict.fromkeys(case.kernel for case in planned))
    if unknown := [name for name in flags.only if name not in names]:
        raise InputError(f"--only {unknown[0]}: expected any of {', '.join(names)}")
    planned = [case for case in planned if not flags.only or case.kernel in flags.only]
    expected = len(planned) * SECONDS["quick" if flags.quick else "full"]
    expected += COMPILE_SECONDS * sum(case.compiles for case in planned) * flags.compile
    kind = "kernels" if device.type == "cuda" else "PyTorch references, at small sizes"

    def measure(result: ResultFile, tell: Tell) -> None:
        torch.manual_seed(0)
        tell(0.0, "bandwidth and product rates")
        dtypes = tuple({case.dtype for case in planned})
        bench = Bench(device, dtypes, flags.compile, seconds=0.2 if flags.quick else 0.5)
        result.content["rates"] = bench.rates()
        for number, case in enumerate(planned):
            tell(number / len(planned), f"{case.kernel}, {case.size}")
            result.content["rows"] += bench.measure(case)
            result.save()

    return Job(
        device,
        measure,
        seeds={"torch": 0},
        announcement=f"{kind} on {device}: {len(planned)} cases, about {expected / 60:.1f} minutes (an estimate)",
    )
