"""What an export knows of its engines' files: sizes, comparison with PyTorch, scores, and why one was refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bistil_ds.console.grid import Grid
from bistil_ds.export.engines.check import EngineCheck
from bistil_ds.models.weight_files import SINGLE_FILE

FP32, DYNAMIC, STATIC = "fp32", "int8 dynamic", "int8"  # dynamic: ranges of activations are measured in each call
DIGITS = 6  # of a loss in points, so that 1.0000000000000009 is 1
Scores = Mapping[str, Mapping[str, float]]  # language → metric → value, 0 to 1


@dataclass(frozen=True)
class EngineFile:
    """A model's file for an engine.

    Attributes:
        weights: one of `FP32`, `DYNAMIC` and `STATIC`.
        bytes: size of the file and of the weights beside it.
        check: the comparison with PyTorch; None for an int8 file, whose outputs differ.
        scores: empty without dev files.
        loss: the most points that the file loses against PyTorch on any dev file; None without dev files.
        refused: why the file was left out; "" if it is there.
    """

    file: str
    runtime: str
    weights: str
    bytes: int = 0
    check: EngineCheck | None = None
    scores: Scores = field(default_factory=dict)
    loss: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Scored:
    """What models were scored on: names of files, number of examples, and the metric by which losses are measured."""

    files: Sequence[str]
    examples: int
    metric: str


@dataclass(frozen=True)
class EngineReport:
    """The files that were made for engines, in their order, and the model in PyTorch for comparison.

    Attributes:
        dev_sets: language → what models were scored on.
        scores: those of the model in PyTorch, in fp32.
        bytes: size of the model's weights in fp32.
        calibration_texts: number of texts for which ranges of activations were measured.
    """

    files: Sequence[EngineFile]
    dev_sets: Mapping[str, Scored]
    scores: Scores
    bytes: int
    calibration_texts: int

    @property
    def refused(self) -> str:
        """Return in one line which files were left out, and why; "" if none was."""
        return "; ".join(f"{each.file}: {each.refused}" for each in self.files if each.refused)

    @property
    def kept(self) -> list[EngineFile]:
        """Return the files that are in the folder."""
        return [each for each in self.files if not each.refused]

    def record(self) -> dict[str, Any]:
        """Return the report as it stands in `run.json`."""
        return {**asdict(self), "files": {each.file: asdict(each) for each in self.files}}

    def grid(self) -> Grid:
        """Return the table for terminal and model card, with one row for each file, also those that were left out."""
        headline = {name: one.metric for name, one in self.dev_sets.items()}
        columns = ["file", "engine", "weights", "MB", *(f"{metric} {name}" for name, metric in headline.items())]
        grid = Grid("Files for other engines", [*columns, "loss"] if headline else columns, texts=3)
        torch = EngineFile(SINGLE_FILE, "PyTorch", FP32, self.bytes, scores=self.scores)
        for each in (torch, *self.files):
            values = [each.scores[name][metric] if each.scores else None for name, metric in headline.items()]
            points = ["" if value is None else f"{100 * value:.2f}" for value in values]
            loss = [] if not headline else ["" if each.loss is None else f"{each.loss:.2f}"]
            name = f"{each.file} (left out)" if each.refused else each.file
            grid.rows.append([name, each.runtime, each.weights, f"{each.bytes / 1e6:.1f}", *points, *loss])
        grid.note = " ".join(self._notes())
        return grid

    def _notes(self) -> list[str]:
        notes = []
        checks = [each.check for each in self.kept if each.check]
        if checks:
            worst, batches = max(checks, key=lambda check: check.relative), len(checks[0].shapes)
            notes.append(
                f"On {batches} random batches, fp32 outputs differ from PyTorch's by at most {worst.absolute:.1e} "
                f"({worst.relative:.1e} of the largest)."
            )
        if self.calibration_texts:
            notes.append(f"int8: ranges of activations were measured on {self.calibration_texts} texts.")
        if self.dev_sets:
            said = (
                f"{name} ({', '.join(one.files)}; {one.examples:,} examples)" for name, one in self.dev_sets.items()
            )
            notes.append(f"Scores in per cent on {', '.join(said)}; loss: the most points lost on any of them.")
        elif any(each.weights != FP32 for each in self.kept):
            notes.append("What int8 loses was not measured.")
        return notes


def most_lost(before: Scores, after: Scores, dev_sets: Mapping[str, Scored]) -> tuple[float, str]:
    """Return the largest loss in points (hundredths), and the dev set's name; negative if all scores rose."""
    losses = {
        name: round(100 * (before[name][one.metric] - after[name][one.metric]), DIGITS)
        for name, one in dev_sets.items()
    }
    worst = max(losses, key=lambda name: math.inf if math.isnan(losses[name]) else losses[name])
    return losses[worst], worst
