"""Show a latency record as tables: one for each engine, dtype, input and number of threads.

Engines that ran side by side share a table for each input and number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Content, Values
from bistil_ds.benchmarking.harness.samples import interval_of
from bistil_ds.benchmarking.models.plan import AGAIN
from bistil_ds.benchmarking.models.rows import (
    busy_note,
    case_of,
    case_text,
    engine_text,
    is_side_by_side,
    milliseconds,
    noise,
    ratio_text,
)
from bistil_ds.console.grid import Grid


def latency_grids(content: Mapping[str, Any]) -> list[Grid]:
    """Return tables of milliseconds per forward pass, tokens or sentences per second, and ratios to the reference.

    What could not be measured gets a table with the reason.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    grids = []
    for row in content["rows"]:
        if "unavailable" in row:
            where = f", {case_text(row)}" if "batch" in row else ""
            title = f"{row['engine']} {row['dtype']}{where}: unavailable"
            grids.append(Grid(title, ["reason"], [[row["unavailable"]]]))
        else:
            groups.setdefault((case_text(row),) if is_side_by_side(row) else case_of(row), []).append(row)
    busy, models = busy_note(content), content.get("models", {})
    return [
        (_side_by_side_grid if is_side_by_side(rows[0]) else _grid)(rows, models, busy) for rows in groups.values()
    ] + grids


def _grid(rows: Sequence[Mapping[str, Any]], models: Mapping[str, Mapping[str, int]], busy: str) -> Grid:
    first = rows[0]
    text = "tokenisation" in first
    columns = ["model", "M parameters", "p50 ms", "p90", "p99", "mean, 95 %", "tokens/s"]
    columns.append(f"time / reference, {interval_of(len(first['seconds']))}")
    shown = [row for row in rows if not row["control"]]
    grid = Grid(f"{first['engine']} {first['dtype']}, {case_text(first)}", columns + ["tokenise ms"] * text)
    for row in shown:
        found = row["summary"]
        cells = [row["model"], f"{models[row['model']]['parameters'] / 1e6:.0f}"]
        cells += [milliseconds(found[name]) for name in ("p50", "p90", "p99")]
        cells.append(milliseconds(found["mean"]) + _interval(row))
        cells.append(f"{tokens(row) / found['mean']:,.0f}")
        cells.append(ratio_text(row["ratio"]) if row["reference"] != row["model"] else "1")
        if text:
            cells.append(milliseconds(fmean(row["tokenisation"]["seconds"])))
        grid.rows.append(cells)
    grid.note = _note(rows) + busy
    return grid


def _side_by_side_grid(rows: Sequence[Mapping[str, Any]], models: Mapping[str, Mapping[str, int]], busy: str) -> Grid:
    """Return a table of all models in all engines; the first row is that of the first model in the first engine."""
    first, interval = rows[0], interval_of(len(rows[0]["seconds"]))
    text = "tokenisation" in first
    columns = ["model", "engine", "M parameters", "MB on disk", "ms a sentence, 95 %", "p99", "sentences/s"]
    columns += [f"time / {first['model']} in {engine_text(first)}, {interval}", f"time / same engine's, {interval}"]
    grid = Grid(f"Side by side, {case_text(first)}", columns + ["tokenise ms"] * text, texts=2)
    for row in rows:
        if row["control"]:
            continue
        found = {name: row["summary"][name] / row["batch"] for name in ("p99", "mean")}
        cells = [row["model"], engine_text(row), f"{models[row['model']]['parameters'] / 1e6:.1f}"]
        cells += [f"{row['disk_bytes'] / 1e6:.1f}", milliseconds(found["mean"]) + _interval(row, row["batch"])]
        cells += [milliseconds(found["p99"]), f"{1 / found['mean']:,.1f}"]
        cells.append(ratio_text(row["ratio_to_first"]) if row is not first else "1")
        cells.append(ratio_text(row["ratio"]) if row["reference"] != row["model"] else "1")
        if text:
            cells.append(milliseconds(fmean(row["tokenisation"]["seconds"]) / row["batch"]))
        grid.rows.append(cells)
    grid.note = _note(rows) + busy
    return grid


def _interval(row: Mapping[str, Any], parts: int = 1) -> str:
    """Return half the width of the mean's interval as text. For one round, ignore the interval of an old record."""
    if len(row["seconds"]) < 2:
        return ", no interval"
    return f" ±{milliseconds((row['summary']['mean_high'] - row['summary']['mean']) / parts)}"


def _note(rows: Sequence[Mapping[str, Any]]) -> str:
    def name(row: Mapping[str, Any]) -> str:
        label = row["model"].removesuffix(AGAIN)
        return f"{label} in {engine_text(row)}" if is_side_by_side(row) else str(label)

    counts = sorted(row["summary"]["count"] for row in rows)
    notes = [f"{len(rows[0]['seconds'])} rounds, {counts[0]} to {counts[-1]} calls a model"]
    for row in rows:
        if row["control"]:
            notes.append(f"the same model twice, {name(row)}: {ratio_text(row['ratio'])}")
    if unsteady := [name(row) for row in rows if not row["warm_up"]["stable"]]:
        notes.append(f"not steady after warm-up: {', '.join(unsteady)}")
    return "; ".join(notes)


def tokens(row: Mapping[str, Any]) -> float:
    """Return the number of real tokens in a call; for text, the mean over rounds, because each has another batch."""
    if row["length"]:
        return float(row["batch"] * row["length"])
    batches = row["tokenisation"]["tokens"]
    return fmean(batches[round_ % len(batches)] for round_ in range(len(row["seconds"])))


def latency_values(content: Content) -> Values:
    """Return each model's seconds, and the seconds divided by the reference's of the same round.

    The second values hardly depend on how fast the machine is.
    """
    found: Values = {}
    cases = {(row["model"], _case(row)): row["seconds"] for row in content["rows"] if "seconds" in row}
    noises = noise(content)
    for row in content["rows"]:
        if "seconds" not in row or row["control"]:
            continue
        name, rounds, twice = _case(row), row["seconds"], noises.get(case_of(row), 0.0)
        found[row["model"], f"{name}, s"] = rounds, twice
        if row["model"] != row["reference"]:
            pairs = zip(rounds, cases[row["reference"], name])
            found[row["model"], f"{name}, over its reference"] = [[median(a) / median(b)] for a, b in pairs], twice
    return found


def _case(row: Mapping[str, Any]) -> str:
    return f"{row['engine']} {row['dtype']}, {case_text(row)}"
