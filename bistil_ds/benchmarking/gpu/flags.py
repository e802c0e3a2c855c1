"""Define the flags of the GPU run, plan it, and show its record.

Parts run one after the other, most important first, each in a process of its own and for a part of the time. What they
find is in the record as soon as it is known. The parts that are benchmarks of their own leave records of their own
beside it. `--quick`, which is also called `--rehearse`, runs the code of every part at toy size on the CPU.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.gpu.child import launch, start_server
from bistil_ds.benchmarking.gpu.page import write_page
from bistil_ds.benchmarking.gpu.parts import PARTS
from bistil_ds.benchmarking.gpu.running import run_parts
from bistil_ds.benchmarking.gpu.tables import failures, gpu_grids
from bistil_ds.benchmarking.harness.benchmark import Benchmark, Job, Tell
from bistil_ds.benchmarking.harness.command import explain
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.errors import InputError

KEPT_BACK = 10.0  # seconds of the whole for processes to end and for writing the page
KEYS = [part.key for part in PARTS]


@dataclass
class Flags:
    """Flags of the GPU run."""

    minutes: float = field(default=4.0, metadata=explain("Time for all parts; 4, 9 and 60 are sensible."))
    parts: list[str] = field(
        default_factory=lambda: list(KEYS), metadata=explain("Parts to run, in the order of the page.", KEYS)
    )
    quick: bool = field(
        default=False,
        metadata={
            **explain("Rehearse: every part at toy size on the CPU; no figure counts."),
            "aliases": ["--rehearse"],
        },
    )
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the page and at most 7 records go."))


def plan(flags: Flags) -> Job:
    """Check the flags and plan the run.

    Raises:
        InputError: there is no GPU, and it is no rehearsal; or the time is not above 0.
    """
    seconds = 60 * flags.minutes - KEPT_BACK
    if not seconds > 0:
        raise InputError(f"--minutes {flags.minutes:g}: expected more than {KEPT_BACK:g} seconds")
    if not flags.quick and not torch.cuda.is_available():
        raise InputError("there is no GPU; --rehearse runs every part at toy size on the CPU")
    parts = [part for part in PARTS if part.key in flags.parts]

    def measure(result: ResultFile, tell: Tell) -> None:
        def save() -> None:
            result.save()
            write_page(result.path, result.content)

        begun = time.monotonic()
        starter = partial(launch, results=result.path.parent, rehearsal=flags.quick)
        with interrupted_by_sigterm():
            tell(0.0, "importing libraries")
            start_server()
            left = seconds - (time.monotonic() - begun)
            run_parts(parts, left, starter, result.content["rows"], save, tell)

    return Job(torch.device("cpu" if flags.quick else "cuda"), measure)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C in this context, so that processes are ended and the record says what happened."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _files(path: Path, content: Any) -> list[Path]:
    return [write_page(path, content)]


ENTRY = Benchmark(
    name="gpu",
    title="A GPU in minutes",
    description="A GPU in minutes: rates, kernels against float64, training, then the other benchmarks, while time "
    "lasts.",
    flags=Flags,
    plan=plan,
    tables=gpu_grids,
    files=_files,
    failures=failures,
)
