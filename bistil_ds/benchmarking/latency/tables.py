"""A latency result as tables: one for each input and way of running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bistil_ds.benchmarking.harness.samples import interval_of
from bistil_ds.benchmarking.harness.tables import Grid
from bistil_ds.benchmarking.latency.measure import AGAIN, case_text

BUSY = 0.5  # load a processor from which other programs disturb
SAME = ("engine", "dtype", "batch", "length", "threads")


def latency_grids(content: Mapping[str, Any]) -> list[Grid]:
    """Milliseconds of a forward pass, tokens per second, and time over the reference's with its 95 % interval."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    grids = []
    for row in content["rows"]:
        if "unavailable" in row:
            where = f", {case_text(row)}" if "batch" in row else ""
            title = f"{row['engine']} {row['dtype']}{where}: unavailable"
            grids.append(Grid(title, ["reason"], [[row["unavailable"]]]))
        else:
            groups.setdefault(case_of(row), []).append(row)
    busy = busy_note(content)
    return [_grid(rows, content.get("models", {}), busy) for rows in groups.values()] + grids


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
        cells.append(f"{milliseconds(found['mean'])} ±{milliseconds(found['mean_high'] - found['mean'])}")
        cells.append(f"{tokens(row) / found['mean']:,.0f}")
        cells.append(ratio_text(row["ratio"]) if row["reference"] != row["model"] else "1")
        if text:
            cells.append(milliseconds(fmean(row["tokenisation"]["seconds"])))
        grid.rows.append(cells)
    grid.note = _note(rows) + busy
    return grid


def _note(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted(row["summary"]["count"] for row in rows)
    notes = [f"{len(rows[0]['seconds'])} rounds, {counts[0]} to {counts[-1]} calls a model"]
    for row in rows:
        if row["control"]:
            notes.append(f"the same model twice, {row['model'].removesuffix(AGAIN)}: {ratio_text(row['ratio'])}")
    if unsteady := [row["model"] for row in rows if not row["warm_up"]["stable"]]:
        notes.append(f"not steady after warm-up: {', '.join(unsteady)}")
    return "; ".join(notes)


def busy_note(content: Mapping[str, Any]) -> str:
    """A warning where other programs kept the processors busy before the run; else nothing."""
    load, cores = content["machine_before"]["load_average"][0], content["hardware"]["threads"]
    if load < BUSY * cores:
        return ""
    return f"; the machine was busy (load {load:.1f} on {cores} processors): measure again on a quiet one"


def milliseconds(seconds: float) -> str:
    """Three digits."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def ratio_text(ratio: Mapping[str, float]) -> str:
    """`0.51 (0.50 to 0.52)`."""
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def tokens(row: Mapping[str, Any]) -> float:
    """Real tokens in a call, in the mean; of text, each round takes the next batch."""
    if row["length"]:
        return float(row["batch"] * row["length"])
    batches = row["tokenisation"]["tokens"]
    return fmean(batches[round_ % len(batches)] for round_ in range(len(row["seconds"])))


def case_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What rows that may be compared have in common."""
    return tuple(row.get(name) for name in SAME)


def noise(content: Mapping[str, Any]) -> dict[tuple[Any, ...], float]:
    """For each case, how far from 1 the same model twice came out."""
    controls = [row for row in content["rows"] if row.get("control") and "ratio" in row]
    return {case_of(row): abs(row["ratio"]["median"] - 1) for row in controls}
