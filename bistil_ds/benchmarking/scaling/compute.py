"""Compute the memory that phase 1 needs on each of many GPUs, and the bytes that each GPU sends.

Seconds are computed only if the user states a GPU's rate, utilisation and bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bistil_ds.benchmarking.flops.count import shape_of, step_flops
from bistil_ds.benchmarking.models.shapes import student_name
from bistil_ds.benchmarking.scaling.activations import saved_bytes
from bistil_ds.benchmarking.scaling.zero_memory import MODES, sent_bytes, state_bytes, teacher_bytes
from bistil_ds.console.grid import Grid

GB = 1e9


@dataclass(frozen=True)
class Speed:
    """A GPU's speed as the user states it: peak operations a second, the share reached, and bytes sent a second."""

    flops: float
    utilisation: float
    bandwidth: float


def scaling_rows(
    teacher: str, gpus: Sequence[int], batch: int, length: int, speed: Speed | None = None
) -> list[dict[str, Any]]:
    """Return a row for each ZeRO mode and number of GPUs.

    The student has half the teacher's layers. Both have a trimmed vocabulary of 60,000 tokens. A row has the bytes held
    on each GPU, held in each node's host memory, and sent by each GPU in a step. In a step, each GPU reads one
    micro-batch of `batch` x `length` tokens.
    """
    name = student_name(teacher, 2, 60_000)
    trimmed_name = student_name(teacher, 1, 60_000)
    student, trimmed = shape_of(name), shape_of(trimmed_name)
    parameters, layer = parameters_of(student)
    teacher_parameters, teacher_layer = parameters_of(trimmed)
    activations = saved_bytes(name, trimmed_name, batch, length)
    flops = step_flops(student, trimmed, batch, length)
    assert flops is not None
    rows = []
    for mode in MODES:
        for count in gpus:
            states = state_bytes(mode, parameters, layer, count)
            teacher_held = teacher_bytes(mode, teacher_parameters, teacher_layer, count)
            sent = sent_bytes(mode, parameters, teacher_parameters, count)
            row: dict[str, Any] = {"teacher": teacher, "zero": mode, "gpus": count, "batch": batch, "length": length}
            row |= {"teacher_parameters": teacher_parameters, "student_parameters": parameters}
            row |= {"backward": states.backward, "update": states.update, "activations": activations}
            row |= {"teacher_bytes": teacher_held, "device": states.most(activations) + teacher_held}
            row |= {"host": states.host, "sent": sent}
            row["flops"] = flops["ours"]
            if speed is not None:
                row["seconds"] = flops["ours"] / (speed.flops * speed.utilisation) + sent / speed.bandwidth
            rows.append(row)
    return rows


def parameters_of(model: Any) -> tuple[int, int]:
    """Return how many parameters a model has, and the most that one module holds itself, without its submodules.

    ZeRO-3 gathers the parameters of one such module at a time.
    """
    layers = (sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules())
    return sum(p.numel() for p in model.parameters()), max(layers)


def scaling_grids(content: Mapping[str, Any]) -> list[Grid]:
    """Return the tables of each teacher, then, if the record has measured rows, one of measured beside computed bytes.

    A teacher has a table of memory, one of bytes sent and, if seconds were computed, one of seconds. Each of these
    tables has a line for each ZeRO mode and a column for each number of GPUs.
    """
    grids = []
    rows = [row for row in content["rows"] if "teacher" in row]
    for teacher in dict.fromkeys(row["teacher"] for row in rows):
        these = [row for row in rows if row["teacher"] == teacher]
        sizes = " → ".join(f"{these[0][f'{side}_parameters'] / 1e9:.2f}" for side in ("teacher", "student"))
        memory = _by_gpus(these, f"GB on each GPU, {teacher}, {sizes} billion parameters", "device")
        kept = f"activations {these[0]['activations'] / GB:.1f} GB"
        memory.note = f"computed; {kept} at {these[0]['batch']} x {these[0]['length']} tokens a GPU; bf16"
        grids += [memory, _by_gpus(these, f"GB each GPU sends in a step, {teacher}", "sent")]
        if "seconds" in these[0]:
            times = _by_gpus(these, f"Seconds a step, {teacher}", "seconds", 1.0)
            times.note = "ASSUMED: operations over the stated rate, plus bytes over the stated bandwidth"
            grids.append(times)
    if checked := [row for row in content["rows"] if "stage" in row]:
        grids.append(_check(checked))
    return grids


def _by_gpus(rows: Sequence[Mapping[str, Any]], title: str, key: str, unit: float = GB) -> Grid:
    gpus = list(dict.fromkeys(row["gpus"] for row in rows))
    grid = Grid(title, ["ZeRO", *(f"{count} GPU{'s' if count > 1 else ''}" for count in gpus)])
    for mode in MODES:
        grid.rows.append([mode, *(f"{row[key] / unit:.3g}" for row in rows if row["zero"] == mode)])
    return grid


def _check(rows: Sequence[Mapping[str, Any]]) -> Grid:
    columns = [
        "ZeRO, ranks, M parameters",
        "memory, measured",
        "computed",
        "error",
        "sent, measured",
        "computed",
        "error",
    ]
    grid = Grid("Bytes for each parameter of the student: measured on this machine, and computed", columns)
    for row in rows:
        if "unavailable" in row:
            grid.rows.append([f"{row['stage']}, {row['ranks']}: unavailable, {row['unavailable']}"])
            continue
        cells = [f"{row['stage']}, {row['ranks']}, {row.get('parameters', row.get('added_parameters')) / 1e6:.1f}"]
        for key in ("memory", "sent"):
            measured, computed = row[key], row[f"{key}_predicted"]
            error = f"{computed / measured - 1:+.0%}" if measured else ""
            cells += [f"{measured:.2f}", f"{computed:.2f}", error]
        grid.rows.append(cells)
    grid.note = "memory: of tensors, at most, without the teacher; few tokens, so hardly any activations"
    return grid
