"""Measure tokens/s and peak memory of a training step in three ways: `floor`, `eager` and `ours` (see `ways`)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bistil_ds.benchmarking.harness.benchmark import Content, Tell, Values, parts_of
from bistil_ds.benchmarking.harness.peak_memory import peak_in_own_process
from bistil_ds.benchmarking.harness.timing import Way, paired_ratio, time_in_turns
from bistil_ds.benchmarking.training_step.teachers import cheaper_teacher, cost_in_the_loss
from bistil_ds.benchmarking.training_step.ways import WAYS, Shape, Steps, random_steps, single_step
from bistil_ds.console.grid import Grid
from bistil_ds.training.speed import matmul_rate, training_flops


def compare_ways(
    shape: Shape,
    rounds: int,
    device: torch.device,
    memory: bool,
    tell: Tell,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Return a row for each of `WAYS`, timed in turns. Ratios are to `floor`.

    With `memory`, rows have peaks too, which are those of fp32. Their ratios leave out what the libraries take.
    """
    steps = random_steps(shape, device, dtype)
    ways = {name: steps.way(name) for name in WAYS}
    before = matmul_rate(device, dtype)
    result = _timed(ways, "floor", shape, rounds, device, parts_of(tell, 2)[0] if memory else tell)
    peak_rate = max(before, matmul_rate(device, dtype))
    for row in result.values():
        row["mfu"] = row["tokens_per_second"] * training_flops(steps.student, steps.teacher, shape.length) / peak_rate
    del steps, ways
    if memory:
        peaks = {}
        for number, name in enumerate(WAYS):
            tell(0.5 + 0.5 * number / len(WAYS), f"memory, length {shape.length}: {name}")
            peaks[name] = peak_in_own_process(single_step, name, shape, str(device), device=str(device))
        floor = peaks["floor"]
        for name, peak in peaks.items():
            result[name] |= {**peak.in_mib(), "memory_ratio": peak.own / floor.own}
            result[name]["memory_ratio_above_baseline"] = (peak.peak - peak.baseline) / (floor.peak - floor.baseline)
    return result


def compare_teachers(
    names: Sequence[str], shape: Shape, rounds: int, device: torch.device, tell: Tell
) -> dict[str, Any]:
    """Return a row for our step with the fp32 teacher and with each of `names`, timed in turns; ratios are to fp32."""
    steps = random_steps(shape, device)
    ways = {"float32": steps.way("ours")}
    ways |= {name: steps.with_teacher(*cheaper_teacher(name, steps.teacher)) for name in names}
    return _timed(ways, "float32", shape, rounds, device, tell)


def compare_faster(
    name: str,
    make: Callable[[Steps], Way],
    shape: Shape,
    rounds: int,
    device: torch.device,
    dtype: torch.dtype,
    tell: Tell,
) -> dict[str, Any]:
    """Return a row for our step and for a faster form of it, timed in turns; ratios are to the first.

    Args:
        name: what the form is called.
        make: returns the form of a step, such as `Steps.graphed`.
    """
    torch.compiler.reset()  # models share code, and torch silently stops compiling code that it compiled too often
    steps = random_steps(shape, device, dtype)
    ways = {"ours": steps.way("ours"), f"ours, {name}": make(steps)}
    return _timed(ways, "ours", shape, rounds, device, tell)


def compare_costs(
    names: Iterable[str],
    student: PreTrainedModel,
    layer_map: list[int],
    teacher: PreTrainedModel,
    inputs: dict[str, Tensor],
) -> dict[str, Any]:
    """Return a row for each cheaper teacher: how much it changes the losses and the gradient of one batch."""
    return {name: asdict(cost_in_the_loss(student, layer_map, teacher, name, inputs)) for name in names}


def _timed(
    ways: Mapping[str, Way], reference: str, shape: Shape, rounds: int, device: torch.device, tell: Tell
) -> dict[str, Any]:
    whole, done = (rounds + 1) * len(ways), 0

    def advance() -> None:
        nonlocal done
        done += 1
        tell(done / whole, f"time, length {shape.length}")

    seconds = time_in_turns(ways, rounds, device, advance)
    tokens = shape.batch * shape.length
    return {
        name: {
            "seconds": samples,
            "tokens_per_second": tokens / statistics.median(samples),
            "time_ratio": paired_ratio(samples, seconds[reference]),
        }
        for name, samples in seconds.items()
    }


def grid(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Grid:
    """Return a table with one line for each way and one column for each float."""
    columns = list(
        dict.fromkeys(key for row in rows.values() for key, value in row.items() if isinstance(value, float))
    )
    cells = [[name, *(_number(row[key]) if key in row else "" for key in columns)] for name, row in rows.items()]
    with_libraries = "memory_ratio" in columns and "empty_mib" not in columns  # an older record
    note = "memory ratio: with what the libraries take, which newer records leave out" if with_libraries else ""
    return Grid(title, ["", *(column.replace("_", " ") for column in columns)], cells, note)


def throughput_grids(content: Content) -> list[Grid]:
    """Return one table for each title in the rows' field `table`."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in content["rows"]:
        groups.setdefault(row["table"], {})[row["way"]] = row
    return [grid(title, rows) for title, rows in groups.items()]


def throughput_values(content: Content) -> Values:
    """Return (way, table) → the seconds of each round."""
    timed = [row for row in content["rows"] if "seconds" in row]
    return {(row["way"], f"{row['table']}, s"): ([[one] for one in row["seconds"]], 0.0) for row in timed}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) > 100 else f"{value:.4g}"
