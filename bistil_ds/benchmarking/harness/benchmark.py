"""What a benchmark is: one entry of the registry, and one run of it."""

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

Content = Mapping[str, Any]  # of a record
Tell = Callable[[float, str], object]  # is given the share that is done, 0 to 1, and what is being done
Values = dict[tuple[str, str], tuple[Rounds, float]]  # (model, case) → samples, how far the same model twice differs


@dataclass(frozen=True)
class Job:
    """One run of a benchmark, its flags checked.

    Attributes:
        device: the device that is measured, for the record and its name.
        measure: adds rows to the record's content; it may save the record as often as it likes.
        seeds: name → seed, for the record.
        announcement: a line to print before the run starts.
        bar: whether a progress bar is shown; a run that starts other commands leaves the terminal to them.
    """

    device: torch.device
    measure: Callable[[ResultFile, Tell], None]
    seeds: Mapping[str, int] = field(default_factory=dict)
    announcement: str = ""
    bar: bool = True


@dataclass(frozen=True)
class Benchmark:
    """One entry of the registry: command, help, record, report and comparison are served from it.

    Attributes:
        name: of its script in `benchmarks/` and of its records.
        title: of its chapter in the report.
        description: what `--help` says first.
        flags: a dataclass, a field a flag; `output_dir` is one of them.
        plan: checks the flags and says what to run; it raises InputError before anything is written.
        tables: a record's content as tables.
        plots: a record's content as pictures.
        values: what `report.py --compare` sets side by side, the less the better; None where nothing is compared.
        files: writes other files beside the record, under its stem, and returns their paths.
        failures: a line for everything that went wrong; with one or more the command ends with exit code 1.
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
    """Split what is told into `count` equal parts; each is told of its own share, 0 to 1."""
    return [lambda done, what, part=part: tell((part + done) / count, what) for part in range(count)]  # type: ignore[misc]
