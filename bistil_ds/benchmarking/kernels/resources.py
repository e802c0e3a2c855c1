"""Report the registers, stack and shared memory that each Triton kernel needs, compiled ahead of time without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from bistil_kernels.compile import OPERATIONS, rows
from bistil_kernels.runtime.machine_code import TARGETS

from bistil_ds.benchmarking.harness.benchmark import Content, Job, Tell
from bistil_ds.benchmarking.harness.command import explain
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.console.grid import Grid
from bistil_ds.errors import InputError

QUICK_OPERATIONS, QUICK_TARGETS = ("logits", "runtime"), ("sm_80", "gfx942")  # a quick run compiles these alone

LEGEND = (
    "registers a thread, shared bytes a program, wide moves: global loads and stores of 16 bytes. Spills are "
    "instructions on NVIDIA's GPUs, registers on AMD's. AMD's registers are vector registers, with the accumulators "
    "among them; scalar registers spill to vector registers, not to memory."
)


@dataclass
class Flags:
    """Flags of the benchmark of kernels' resources."""

    quick: bool = field(default=False, metadata=explain("Two operations, few forms, for sm_80 and gfx942."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the JSON and the whole table go."))


def plan(flags: Flags) -> Job:
    """Plan the compilation of the operations; raise InputError if Triton is not installed."""
    if find_spec("triton") is None:
        raise InputError("the kernels' resources need Triton; pip install triton")

    def measure(result: ResultFile, tell: Tell) -> None:
        result.content["triton"] = version("triton")
        operations, targets = (QUICK_OPERATIONS, QUICK_TARGETS) if flags.quick else (OPERATIONS, TARGETS)
        for number, operation in enumerate(operations):
            tell(number / len(operations), operation)
            result.content["rows"] += rows([operation], "few" if flags.quick else "every", targets)
            result.save()

    return Job(torch.device("meta"), measure)  # kernels are compiled, not run


def resources_grids(content: Content) -> list[Grid]:
    """Return a table with one line for each operation and target; the whole table lies beside the record."""
    columns = ["operation, target", "compiles", "spill", "registers, most", "stack bytes, most", "shared KiB, most"]
    grid = Grid("Resources of the Triton kernels", columns)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in content["rows"]:
        groups.setdefault((row["operation"], row["target"]), []).append(row)
    for (operation, target), some in groups.items():
        most = [max(row[key] for row in some) for key in ("registers", "stack_bytes", "shared_bytes")]
        cells = [len(some), sum(row["spills"] > 0 for row in some), most[0], most[1], f"{most[2] / 1024:.1f}"]
        grid.rows.append([f"{operation}, {target}", *map(str, cells)])
    grid.note = f"compiled with Triton {content['triton']}; vector registers a thread, shared bytes a program"
    return [grid]


def write_table(path: Path, content: Content) -> list[Path]:
    """Write every row as Markdown beside the record at `path`."""
    columns = list(dict.fromkeys(key for row in content["rows"] for key in row))
    cells = [[str(row.get(key, "")) for key in columns] for row in content["rows"]]
    grid = Grid("Every configuration", [name.replace("_", " ") for name in columns], cells)
    note = f"Compiled with Triton {content['triton']}; {LEGEND}"
    path = path.with_suffix(".md")
    path.write_text(f"# Resources of the Triton kernels\n\n{note}\n\n{grid.markdown()}", encoding="utf-8")
    return [path]
