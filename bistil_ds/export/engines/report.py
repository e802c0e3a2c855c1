"""What an export knows of its engines' files: sizes, comparison with PyTorch, scores, and why one was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bistil_ds.console.grid import Grid
from bistil_ds.export.engines.check import EngineCheck
from bistil_ds.models.weight_files import SINGLE_FILE

FP32, DYNAMIC, STATIC = "fp32", "int8 dynamic", "int8"  # dynamic: ranges of activations are measured in each call
Scores = Mapping[str, Mapping[str, float]]  # language → metric → value, 0 to 1


@dataclass(frozen=True)
class EngineFile:
    """A model's file for an engine.

    Attributes:
        weights: one of `FP32`, `DYNAMIC` and `STATIC`.
        bytes: size of the file and of the weights beside it.
        check: the comparison with PyTorch; None for an int8 file, whose outputs differ.
        scores: empty without dev files.
        loss: the most points of the task's metric that the file loses against PyTorch in any language; None without
            dev files.
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
class EngineReport:
    """The files that were made for engines, in their order, and the model in PyTorch for comparison.

    Attributes:
        metric: the task's metric, by which losses are measured.
        dev_files: language → file or hub data set, and number of examples.
        scores: those of the model in PyTorch, in fp32.
        bytes: size of the model's weights in fp32.
        calibration_texts: number of texts for which ranges of activations were measured.
    """

    metric: str
    files: Sequence[EngineFile]
    dev_files: Mapping[str, tuple[str, int]]
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
        scored = list(self.scores)
        columns = ["file", "engine", "weights", "MB", *(f"{self.metric} {language}" for language in scored)]
        grid = Grid("Files for other engines", [*columns, "loss"] if scored else columns, texts=3)
        torch = EngineFile(SINGLE_FILE, "PyTorch", FP32, self.bytes, scores=self.scores)
        for each in (torch, *self.files):
            points = [f"{100 * each.scores[one][self.metric]:.2f}" if each.scores else "" for one in scored]
            loss = [] if not scored else ["" if each.loss is None else f"{each.loss:.2f}"]
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
        if self.scores:
            sets = ", ".join(f"{name} ({file}, {count:,} examples)" for name, (file, count) in self.dev_files.items())
            notes.append(f"Scores in per cent on {sets}; loss: the most points lost in any of them.")
        elif any(each.weights != FP32 for each in self.kept):
            notes.append("What int8 loses was not measured.")
        return notes
