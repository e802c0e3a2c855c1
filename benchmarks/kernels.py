"""Time, memory and achieved rates of every kernel, beside plain PyTorch and others that do the same."""

from __future__ import annotations

from bistil_ds.benchmarking.kernels.flags import main
from bistil_ds.cli import run

if __name__ == "__main__":
    raise SystemExit(run(main))
