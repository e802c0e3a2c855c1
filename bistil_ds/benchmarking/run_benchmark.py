"""Run any benchmark as a command: flags → plan → record → measure → tables, plots and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bistil_ds.console import cli
from bistil_ds.console.terminal import say

if TYPE_CHECKING:
    from bistil_ds.benchmarking.harness.benchmark import Benchmark


def command_of(name: str) -> Callable[..., int]:
    """Return the `main(argv=None)` of a script in `benchmarks/`; `main` returns the exit code.

    `main` imports the registry, and with it every benchmark, only when it is called. The processes that a benchmark
    starts import the script again but do not call `main`, so they start faster.
    """
    return partial(main, partial(_registered, name))


def _registered(name: str) -> Benchmark:
    from bistil_ds.benchmarking.registry import BENCHMARKS

    return BENCHMARKS[name]


def main(find: Callable[[], Benchmark], argv: Sequence[str] | None = None) -> int:
    """Run the benchmark that `find` returns, with the flags in `argv`, or those of the command line if it is None.

    Returns:
        0; 1 if the benchmark reports a failure; 2 for bad input; 130 after Ctrl-C.
    """
    failures: list[str] = []
    code = cli.run(lambda: failures.extend(run(find(), argv)))
    for line in failures:
        say(f"failed: {line}")
    return code or int(bool(failures))


def run(benchmark: Benchmark, argv: Sequence[str] | None) -> Sequence[str]:
    """Run a benchmark, record and show its result; return a line for each failure."""
    from bistil_ds.benchmarking.harness.command import parse_flags, show_result
    from bistil_ds.benchmarking.harness.own_process import serve_everywhere
    from bistil_ds.benchmarking.harness.result_file import ResultFile
    from bistil_ds.training.kernels.flag import KernelFlags, chosen_kernels

    flags, kernel_flags = parse_flags(argv, [benchmark.flags, KernelFlags], benchmark.description)
    job = benchmark.plan(flags)
    kernels = chosen_kernels(kernel_flags.kernels, on_gpu=job.device.type == "cuda")
    result = ResultFile(Path(flags.output_dir), benchmark.name, job.device, asdict(flags), job.seeds)
    result.content["kernels"] = kernels
    if job.announcement:
        say(job.announcement)
    with serve_everywhere(kernels), show_result(result, benchmark, job.bar) as tell:
        job.measure(result, tell)
    return benchmark.failures(result.content)
