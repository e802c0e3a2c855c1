"""The command of the GPU run. It does not import the registry, which needs libraries that some parts do without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bistil_ds.benchmarking import run_benchmark

if TYPE_CHECKING:
    from bistil_ds.benchmarking.harness.benchmark import Benchmark


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code (see `run_benchmark.main`)."""
    return run_benchmark.main(_entry, argv)


def _entry() -> Benchmark:
    from bistil_ds.benchmarking.gpu.flags import ENTRY

    return ENTRY
