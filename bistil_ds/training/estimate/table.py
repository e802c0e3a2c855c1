"""The table of a dry run: what was counted, computed and measured, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from transformers import PretrainedConfig

from bistil_ds.console.grid import Grid
from bistil_ds.console.user_path import user_path
from bistil_ds.training.estimate.arithmetic import (
    Checkpoints,
    Layout,
    Time,
    teacher_memory,
    training_memory,
)
from bistil_ds.training.estimate.first_steps import Trained

Row = tuple[str, str, str]  # what, value, how the value is known
COUNTED, COMPUTED, MEASURED, LEFT_OUT = "counted", "computed", "measured", "left out"


@dataclass(frozen=True)
class Training:
    """One training of a run: that of phase 1, or one stage of teacher tuning or phase 2.

    Args:
        name: its name, such as `full stage`.
        first: findings of its first steps.
        checkpoint: bytes of one checkpoint.
        checkpoints: how many checkpoints it writes and keeps.
        iterations: how often it is repeated in the run.
    """

    name: str
    first: Trained
    checkpoint: int
    checkpoints: Checkpoints
    iterations: int = 1

    @property
    def time(self) -> Time:
        return Time(self.first.steps * self.iterations, self.first.seconds)


@dataclass(frozen=True)
class Rehearsal:
    """The findings of a dry run.

    Args:
        read, built: rows of the table on what is read and built.
        trainings: the trainings, in order.
        build_bytes: size of the models before training.
        result_bytes: size of what training leaves beside its checkpoints.
        keeps_checkpoints: False where a training's checkpoints are deleted once it is over.
    """

    read: Sequence[Row]
    built: Sequence[Row]
    trainings: Sequence[Training]
    build_bytes: int
    result_bytes: int
    keeps_checkpoints: bool

    @property
    def most_bytes(self) -> int:
        """Return the bytes of the run folder at its largest."""
        return self._with([one.checkpoint * one.checkpoints.at_once for one in self.trainings])

    @property
    def final_bytes(self) -> int:
        """Return the bytes of the run folder at the end of the run."""
        kept = [one.checkpoint * one.checkpoints.kept for one in self.trainings]
        return self._with(kept if self.keeps_checkpoints else [])

    def _with(self, checkpoints: Sequence[int]) -> int:
        return self.build_bytes + self.result_bytes + max(checkpoints, default=0)


def table(rehearsal: Rehearsal, *, preparation: float, free: int) -> Grid:
    """Return the table of a dry run.

    Args:
        rehearsal: the findings of the dry run.
        preparation: seconds that reading and building took.
        free: bytes that the disk of the run folder has left.
    """
    parts: list[tuple[str, Sequence[Row]]] = [("read", rehearsal.read), ("built", rehearsal.built)]
    for one in rehearsal.trainings:
        parts += [(one.name, _training(one)), (f"{one.name}: memory a rank", _memory(one.first))]
    parts += [("disk", _disk(rehearsal, free)), ("time", _time(rehearsal, preparation))]
    grid = Grid("dry run: nothing was kept", ("what", "how much", "how known"), texts=3)
    for title, rows in parts:
        grid.rows += [[title, "", ""], *([f"  {what}", value, known] for what, value, known in rows)]
    return grid


def _training(training: Training) -> list[Row]:
    first = training.first
    rows = [
        ("parameters", f"{first.parameters:,}", COUNTED),
        ("those that train", f"{first.trainable:,}", COUNTED),
        (f"optimiser steps of {first.examples:,} rows", f"{first.steps:,}", COUNTED),
    ]
    return rows if training.iterations == 1 else [*rows, ("iterations", f"{training.iterations:,}", COUNTED)]


def _memory(first: Trained) -> list[Row]:
    layout = first.layout
    memory = training_memory(first.parameters, first.trainable, layout)
    teacher = teacher_memory(first.teacher, first.teacher_itemsize, layout)
    state = "" if memory.optimizer is None else size_text(memory.optimizer)
    rows = [
        ("laid out for", _layout(layout), COUNTED),
        (f"weights, {layout.itemsize} bytes{_place('weights', layout)}", size_text(memory.weights), COMPUTED),
        ("gradients", size_text(memory.gradients), COMPUTED),
        (f"optimizer states{_place('optimizer', layout)}", state, COMPUTED if state else LEFT_OUT),
    ]
    if first.bookkeeping:
        rows.append(("indices and first values", size_text(first.bookkeeping), COUNTED))
    if first.teacher:
        rows.append((f"teacher, {first.teacher_itemsize} bytes a weight", size_text(teacher), COMPUTED))
    rows.append(("these together", size_text(memory.total + teacher + first.bookkeeping), COMPUTED))
    if first.workspace is None:
        return [*rows, ("activations, buffers", "", LEFT_OUT), ("the whole process", size_text(first.peak), MEASURED)]
    activations = ("activations, gradients, buffers", size_text(first.workspace), MEASURED)
    return [*rows, activations, ("allocated at most", size_text(first.peak), MEASURED)]


def _layout(layout: Layout) -> str:
    stage = "no DeepSpeed" if layout.stage is None else f"ZeRO-{layout.stage}"
    return f"{stage}, {layout.ranks} rank{'s' if layout.ranks > 1 else ''}"


def _place(name: str, layout: Layout) -> str:
    return ", offloaded" if name in layout.offloaded else ""


def _disk(rehearsal: Rehearsal, free: int) -> list[Row]:
    rows = [("models before training", size_text(rehearsal.build_bytes), MEASURED)]
    for one in rehearsal.trainings:
        number = f"{one.checkpoints.kept:,} of {size_text(one.checkpoint)}"
        part = "" if one.first.layout.adam else ", no states"
        rows.append((f"checkpoints, {one.name}{part}", number, COMPUTED))
    return [
        *rows,
        ("result", size_text(rehearsal.result_bytes), COMPUTED),
        ("run folder at its end", size_text(rehearsal.final_bytes), COMPUTED),
        ("run folder at its largest", size_text(rehearsal.most_bytes), COMPUTED),
        ("logs, random states", "", LEFT_OUT),
        ("free on that disk", size_text(free), MEASURED),
    ]


def _time(rehearsal: Rehearsal, preparation: float) -> list[Row]:
    rows = [("reading and building", time_text(preparation), MEASURED)]
    times = [one.time for one in rehearsal.trainings]
    for one in rehearsal.trainings:
        seconds = one.first.seconds
        rows.append((f"a step, {one.name}", f"{time_text(median(seconds))}, median of {len(seconds)}", MEASURED))
        rows.append(("  fastest and slowest", f"{time_text(min(seconds))}, {time_text(max(seconds))}", MEASURED))
    fastest, slowest = sum(one.fastest for one in times), sum(one.slowest for one in times)
    steps = sum(one.steps for one in times)
    return [
        *rows,
        (f"{steps:,} step{'s' if steps > 1 else ''}", time_text(sum(one.middle for one in times)), COMPUTED),
        ("  as fast, as slow as these", f"{time_text(fastest)}, {time_text(slowest)}", COMPUTED),
        ("validation, saving, logging", "", LEFT_OUT),
    ]


def sized(source: str) -> str:
    """Return a file's name and size; if `source` is no file but, say, a hub id, return it unchanged."""
    path = user_path(source)
    return f"{path.name}, {size_text(path.stat().st_size)}" if path.is_file() else source


def shaped(config: PretrainedConfig) -> str:
    """Return a text with the number of a model's layers and their width."""
    return f"{config.num_hidden_layers} layers of width {config.hidden_size}"


def size_text(size: float) -> str:
    """Return a text for a number of bytes in decimal units, such as 23.4 kB or 1.25 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:  # less than 1000 when it is rounded to three digits
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def time_text(seconds: float) -> str:
    """Return a text for a time in units that suit it: 4.2 s, 12 min, 6 h 50 min, 3 d 4 h."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
