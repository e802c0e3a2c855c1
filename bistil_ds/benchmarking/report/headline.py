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

    The fastest has the lowest geometric mean of its times over all cases. Scores of a line are those of the evaluated
    model called `MODEL-ENGINE`, such as `e5-openvino-int8`. Without int8, `MODEL` will do, because an exported file
    computes what its model does.

    Args:
        content: a record of `latency.py --side_by_side`.
        evaluations: `evaluation.json` files, as `read_result` returns them.

    Raises:
        InputError: the record's engines did not run side by side.
    """
    rows = [row for row in content["rows"] if is_side_by_side(row) and not row["control"]]
    if not rows:
        raise InputError(
            "--headline: the first file has no engines side by side; give one of latency.py --side_by_side"
        )
    scored = [row for record in evaluations for row in record["rows"]]
    cases, note = case_names(rows)
    columns = ["model", "engine", "MB on disk", *(f"ms a sentence, {case}" for case in cases)]
    columns += [f"times as fast, {case}" for case in cases]
    columns += [f"{language}, {each['metric']}" for each in scored for language in each["test_sets"]]
    grid = Grid("Teacher and students, each in its best engines", columns, note=note, texts=2)
    for by_case in chosen(rows):
        first, engine = by_case[0], engine_text(by_case[0])
        cells = [
            first["model"],
            ENGINES.get(engine, engine),
            f"{first['disk_bytes'] / 1e6:.0f}",
        ]
        cells += [milliseconds(row["summary"]["mean"] / row["batch"]) for row in by_case]
        cells += [f"{1 / row['ratio_to_first']['median']:.1f}" for row in by_case]
        grid.rows.append([*cells, *(score for each in scored for score in scores(each, first))])
    return grid


def case_names(rows: Sequence[Row]) -> tuple[list[str], str]:
    """Return what tells the cases apart, such as `batch 1`, and what all have in common, such as `text, 2 threads`."""
    cases = [case_text(row).split(", ") for row in rows]
    common = [part for part in cases[0] if all(part in case for case in cases)]
    names = [", ".join(part for part in case if part not in common) for case in cases]
    return list(dict.fromkeys(names)), ", ".join(common)


def chosen(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each line of the table, one row for each case."""
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        lines.setdefault((row["model"], engine_text(row)), []).append(row)
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = {engine: line for (name, engine), line in lines.items() if name == model}
        kinds = [[engine for engine in mine if is_int8(engine) == wanted] for wanted in (False, True)]
        best = [min(kind, key=lambda engine: mean_seconds(mine[engine])) for kind in kinds if kind]
        for engine in dict.fromkeys([next(iter(mine)), *best]):
            yield mine[engine]


def is_int8(engine: str) -> bool:
    """Return whether an engine computes with int8 matrices."""
    return "int8" in engine


def mean_seconds(line: Sequence[Row]) -> float:
    """Return the geometric mean of the cases' mean times."""
    return float(prod(row["summary"]["mean"] for row in line) ** (1 / len(line)))


def scores(evaluation: Row, row: Row) -> list[str]:
    """Return the score of a line's model in each test set, in per cent; "" where it was not measured."""
    models, metric = evaluation["models"], evaluation["metric"]
    names = [f"{row['model']}-{row['engine']}"] + [row["model"]] * (not is_int8(row["engine"]))
    model = next((models[name] for name in names if name in models), {})
    found = [model.get("languages", {}).get(each, {}).get("score", {}).get(metric) for each in evaluation["test_sets"]]
    return [f"{100 * each['value']:.1f}" if each else "" for each in found]
