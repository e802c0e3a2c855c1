"""Time, memory and achieved rates of every kernel, beside plain PyTorch and others that do the same.

On CUDA, times are of CUDA events with the L2 cache emptied before each call: once as a caller meets it (an empty queue,
so launches count), once with the queue full (the device's time alone, which the shares of bandwidth and of the
matrix-product rate are taken from; both rates are measured here first). On a CPU the PyTorch references are measured
instead of the kernels, at small sizes, in wall time, without memory. The first call of every way is made on poisoned
memory and compared with ours. The JSON has every sample; CSV and PNG lie beside it. Energy is not measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.kernels.case import OURS
from bistil_ds.benchmarking.kernels.cases import cases
from bistil_ds.benchmarking.kernels.files import summary, write_csv, write_png
from bistil_ds.benchmarking.kernels.rows import Bench

SECONDS = {"full": 4.0, "quick": 2.0}  # a case: drawing tensors, compiling, measuring; a guess that the estimate uses
COMPILE_SECONDS = 20.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="one size a kernel, under a minute")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the eager losses too")
    parser.add_argument("--output_dir", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, record."""
    args, console = parse(), Console()
    device = torch.device(args.device)
    torch.manual_seed(0)
    planned = cases(device, args.quick)
    expected = len(planned) * SECONDS["quick" if args.quick else "full"]
    expected += COMPILE_SECONDS * sum(case.compiles for case in planned) * args.compile
    kind = "kernels" if device.type == "cuda" else "PyTorch references, at small sizes"
    console.print(f"{kind} on {device}: {len(planned)} cases, about {expected / 60:.1f} minutes (an estimate)")
    bench = Bench(device, tuple({case.dtype for case in planned}), args.compile, seconds=0.2 if args.quick else 0.5)
    arguments = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    with ResultFile(args.output_dir, "kernels", device, arguments, {"torch": 0}) as result:
        result.content["rates"] = bench.rates()
        rows = result.content["rows"]
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("", total=len(planned))
            for case in planned:
                progress.update(task, description=f"{case.kernel}, {case.size}")
                rows += bench.measure(case)
                result.save()
                progress.advance(task)
    console.print(summary(rows).rich())
    write_csv(result.path.with_suffix(".csv"), rows)
    write_png(result.path.with_suffix(".png"), rows, f"Kernels on {result.content['device']}, {result.path.stem}")
    console.print("rates", {name: f"{rate:.3g}" for name, rate in bench.rates().items()})
    console.print("written to", result.path, "and beside it as CSV and PNG")
    if failed := [row for row in rows if row["way"] == OURS and row["status"] != "ok"]:
        for row in failed:
            console.print(f"failed: {row['kernel']}, {row['size']}, {row['dtype']}: {row['status']}", markup=False)
        raise SystemExit(1)
