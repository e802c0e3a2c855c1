"""Make the short table of the README: each model in PyTorch, and in the engines in which it is fastest.

The first model is the teacher. Its own best engines stand beside the student's, so that what an engine gives is not
taken for what distillation gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.benchmarking.models.rows import case_text, engine_text, is_side_by_side, milliseconds
from bistil_ds.console.grid import Grid
from bistil_ds.errors import InputError
from bistil_ds.export.engines.report import DIGITS
from bistil_ds.export.engines.request import MAX_LOSS

ENGINES = {  # for a reader who does not know the flags
    "eager": "PyTorch",
    "compile": "torch.compile",
    "int8": "PyTorch, int8",
    "onnx": "ONNX Runtime",
    "onnx-int8": "ONNX Runtime, int8",
    "onnx-int8-static": "ONNX Runtime, static int8",
    "openvino": "OpenVINO",
    "openvino-int8": "OpenVINO, int8",
}

Row = Mapping[str, Any]


def headline(content: Content, *evaluations: Content) -> Grid:
    """Return a line for each model in its first engine, its fastest one without int8 and its fastest one with int8.

    Times are medians. The fastest engine has the lowest geometric mean of them over all cases. Scores of a line are
    those of the evaluated model called `MODEL-ENGINE`, such as `e5-openvino-int8`. Without int8, `MODEL` will do,
    because an exported file computes what its model does. With evaluations, an int8 engine counts only if it was scored
    and loses no more than `export.py` allows.

    Args:
        content: a record of `latency.py --side_by_side`.
        evaluations: `evaluation.json` files, as `read_result` returns them.

    Raises:
        InputError: the record's engines did not run side by side.
    """
    rows = [row for row in content["rows"] if is_side_by_side(row) and not row["control"]]
    if not rows:
        raise InputError("--headline: its first file must be a result of latency.py --side_by_side")
    scored = [row for record in evaluations for row in record["rows"]]
    cases, note = case_names(rows)
    columns = ["model", "engine", "MB on disk", *(", ".join(["ms a sentence", *case]) for case in cases)]
    columns += [", ".join(["times as fast", *case]) for case in cases]
    columns += [f"{name}, {metric_of(each, name)}" for each in scored for name in each["test_sets"]]
    grid = Grid("Teacher and students, each in its best engines", columns, note=note, texts=2)
    for line in chosen(rows, scored):
        first, engine = line[0], engine_text(line[0])
        cells = [first["model"], ENGINES.get(engine, engine), f"{first['disk_bytes'] / 1e6:.0f}"]
        cells += [milliseconds(row["summary"]["p50"] / row["batch"]) for row in line]
        cells += [f"{1 / row['ratio_to_first']['median']:.1f}" for row in line]
        found = scores(first["model"], engine, scored)
        grid.rows.append([*cells, *("" if score is None else f"{score:.1f}" for score in found)])
    return grid


def case_names(rows: Sequence[Row]) -> tuple[list[tuple[str, ...]], str]:
    """Return what tells the cases apart, such as `batch 1`, and what all have in common, such as `text, 2 threads`."""
    cases = [case_text(row).split(", ") for row in rows]
    common = [part for part in cases[0] if all(part in case for case in cases)]
    names = [tuple(part for part in case if part not in common) for case in cases]
    return list(dict.fromkeys(names)), ", ".join(common)


def chosen(rows: Sequence[Row], scored: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each line of the table, one row for each case."""
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        lines.setdefault((row["model"], engine_text(row)), []).append(row)
    for model in dict.fromkeys(row["model"] for row in rows):
        engines = [engine for name, engine in lines if name == model]
        plain = [engine for engine in engines if not is_int8(engine)]
        int8 = [engine for engine in engines if is_int8(engine) and is_deployable(model, engine, scored)]
        best = [min(kind, key=lambda engine: typical_seconds(lines[model, engine])) for kind in (plain, int8) if kind]
        for engine in dict.fromkeys([engines[0], *best]):
            yield lines[model, engine]


def is_int8(engine: str) -> bool:
    """Return whether an engine computes with int8 matrices."""
    return "int8" in engine


def is_deployable(model: str, engine: str, scored: Sequence[Row]) -> bool:
    """Return whether a model loses no more in an int8 engine than `export.py` allows, in any test set."""
    pairs = list(zip(scores(model, "", scored), scores(model, engine, scored)))
    return all(None not in pair and round(pair[0] - pair[1], DIGITS) <= MAX_LOSS for pair in pairs)  # type: ignore[operator]


def typical_seconds(line: Sequence[Row]) -> float:
    """Return the geometric mean of the cases' median times."""
    return float(prod(row["summary"]["p50"] for row in line) ** (1 / len(line)))


def scores(model: str, engine: str, scored: Sequence[Row]) -> list[float | None]:
    """Return a model's score in each test set of each evaluation, in per cent; None where it was not measured."""
    found: list[float | None] = []
    for each in scored:
        names = [f"{model}-{engine}"] + [model] * (not is_int8(engine))
        facts: Row = next((each["models"][name] for name in names if name in each["models"]), {"languages": {}})
        for test_set in each["test_sets"]:
            score = facts["languages"].get(test_set, {}).get("score", {}).get(metric_of(each, test_set))
            found.append(None if score is None else 100 * score["value"])
    return found


def metric_of(evaluation: Row, test_set: str) -> str:
    """Return the main metric of a test set; without one of its own, that of the task."""
    return str(evaluation["test_sets"][test_set].get("metric", evaluation["metric"]))
