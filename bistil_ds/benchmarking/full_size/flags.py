"""Define the flags of the full-size benchmark, plan its run, and show its record as a table.

The teacher has the real model's configuration and random weights. Its vocabulary is as large as the real one, but
generated; two corpora are generated too. The peak memory of a stage includes loading its models, writing its result,
and the libraries; the row "imports" shows what the libraries take.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bistil_ds.benchmarking.full_size.material import MODELS
from bistil_ds.benchmarking.full_size.stages import STAGES, run_stage
from bistil_ds.benchmarking.harness.benchmark import Content, Job, Tell, Values
from bistil_ds.benchmarking.harness.command import explain
from bistil_ds.benchmarking.harness.own_process import run_in_own_process
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.console.grid import Grid


@dataclass
class Flags:
    """Flags of the full-size benchmark."""

    quick: bool = field(default=False, metadata=explain("A small vocabulary and model, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file goes."))


def plan(flags: Flags) -> Job:
    """Plan all stages of both models, one after the other, on the CPU."""

    def measure(result: ResultFile, tell: Tell) -> None:
        whole, done = len(MODELS) * len(STAGES), 0
        for name in MODELS:
            with tempfile.TemporaryDirectory() as work:
                for stage in STAGES:
                    tell(done / whole, f"{name}: {stage}")
                    found = run_in_own_process(run_stage, stage, name, Path(work), flags.quick)
                    result.content["rows"].append({"model": name, "stage": stage, **found})
                    result.save()
                    done += 1

    return Job(torch.device("cpu"), measure, seeds={"weights, vocabulary and corpora": 0})


def full_size_grids(content: Content) -> list[Grid]:
    """Return a table of seconds and peak memory, with a line for each model and stage."""
    grid = Grid("Full size without weights", ["model, stage", "seconds", "peak memory, GB"])
    for row in content["rows"]:
        cells = [f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e9:.2f}"]
        grid.rows.append([f"{row['model']}, {row['stage']}", *cells])
    grid.note = "each stage in a process of its own; peak memory: resident, with the libraries (row imports)"
    return [grid]


def full_size_values(content: Content) -> Values:
    """Return the seconds and the peak memory, in GB, of each stage."""
    found: Values = {}
    for row in content["rows"]:
        found[row["model"], f"{row['stage']}, s"] = [[row["seconds"]]], 0.0
        found[row["model"], f"{row['stage']}, peak GB"] = [[row["peak_bytes"] / 1e9]], 0.0
    return found
