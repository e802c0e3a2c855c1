"""Define the two types that describe a benchmark: its entry in the registry, and one run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.harness.plots import Plot
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.harness.samples import Rounds
from bistil_ds.console.grid import Grid

Content = Mapping[str, Any]  # the content of a record
Tell = Callable[[float, str], object]  # called with the share of the run that is done (0 to 1), and what is being done
# (model, case) → (samples of each round, noise). Noise: |ratio − 1| of a model's two runs, or 0 if no model ran twice.
Values = dict[tuple[str, str], tuple[Rounds, float]]


@dataclass(frozen=True)
class Job:
    """One run of a benchmark whose flags have been checked.

    Attributes:
        device: the device that is measured; the record and its file name state it.
        measure: fills in the rows of the record's content; it may save the record at any time.
        seeds: name → seed, for the record.
        announcement: a line to print before the run starts.
        bar: whether to show a progress bar; it is off for runs that start other commands, which show their own.
    """

    device: torch.device
    measure: Callable[[ResultFile, Tell], None]
    seeds: Mapping[str, int] = field(default_factory=dict)
    announcement: str = ""
    bar: bool = True


@dataclass(frozen=True)
class Benchmark:
    """One entry of the registry. Command, help, record, report and comparison are made from it.

    Attributes:
        name: the name of its script in `benchmarks/` and of its records.
        title: the title of its chapter in the report.
        description: the text that `--help` shows first.
        flags: a dataclass with one field for each flag; `output_dir` is one of them.
        plan: checks the flags and returns the run; raises InputError before anything is written.
        tables: returns a record's content as tables.
        plots: returns a record's content as plots.
        values: returns the numbers that `report.py --compare` compares (less is better); None: cannot be compared.
        files: writes other files beside the record, with its name but other endings, and returns their paths.
        failures: returns a line for each failure; if there is any, the command ends with exit code 1.
    """

    name: str
    title: str
    description: str
    flags: type
    plan: Callable[[Any], Job]
    tables: Callable[[Content], Sequence[Grid]]
    plots: Callable[[Content], Sequence[Plot]] = lambda content: ()
    values: Callable[[Content], Values] | None = None
    files: Callable[[Path, Content], Iterable[Path]] = lambda path, content: ()
    failures: Callable[[Content], Sequence[str]] = lambda content: ()


def parts_of(tell: Tell, count: int) -> list[Tell]:
    """Return one callback for each of `count` equal parts of a run.

    A callback takes the share of its own part that is done (0 to 1), and what is being done. It calls `tell` with the
    share of the whole run that is done.
    """
    return [lambda done, what, part=part: tell((part + done) / count, what) for part in range(count)]  # type: ignore[misc]
