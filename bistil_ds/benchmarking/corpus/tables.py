"""Show the record of the corpus benchmark: rates and memory, and straight lines fitted to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bistil_ds.benchmarking.harness.benchmark import Content, Values
from bistil_ds.console.grid import Grid

MB = 1e6
Row = Mapping[str, Any]


def corpus_grids(content: Content) -> list[Grid]:
    """Return a table with a line for each preparation, and one of the fitted lines if there are three sizes."""
    columns = [
        "way, text, vocabulary",
        "CPU seconds",
        "MB/s",
        "passed",
        "memory, MB",
        "with files",
        "CPU seconds by step",
    ]
    grid = Grid("Preparing a corpus", columns)
    for row in content["rows"]:
        name = f"{_name(row)}, {row['text_bytes'] / MB:,.1f} MB of {row['shape']}, {row['vocabulary']:,}"
        if "unavailable" in row:
            grid.rows.append([f"{name}: unavailable, {row['unavailable']}"])
            continue
        seconds = _seconds(row)
        steps = ", ".join(f"{step} {value:.3g}" for step, value in row["seconds"].items())
        memory = [f"{row[key] / MB:,.0f}" for key in ("peak_bytes", "resident_bytes")]
        rates = [f"{seconds:.1f}", f"{row['text_bytes'] / MB / seconds:.2f}", f"{row['passed']:.1f}"]
        grid.rows.append([name, *rates, *memory, steps])
    limit = content["arguments"].get("limit_gb")
    allowed = f"at most {limit:g} GB" if limit else "any amount"
    grid.note = f"MB of text a CPU second; memory: anonymous, with libraries, {allowed} allowed; with files: resident"
    fits = _fits([row for row in content["rows"] if "unavailable" not in row])
    return [grid, fits] if fits.rows else [grid]


def _fits(rows: Sequence[Row]) -> Grid:
    grid = Grid("Growth", ["way", "CPU seconds", "largest error", "memory, MB", "largest error"])
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        first = own[0]
        for key, unit, scale in (("text_bytes", "MB", MB), ("vocabulary", "1,000 tokens", 1e3), ("ranks", "ranks", 1)):
            (other,) = {"text_bytes", "vocabulary"} - {key} if key != "ranks" else {"text_bytes"}
            same = [row for row in own if key in row and math.isclose(row[other], first[other], rel_tol=0.01)]
            if len({row[key] for row in same}) >= 3:
                size = [row[key] / scale for row in same]
                seconds, memory = [_seconds(row) for row in same], [row["peak_bytes"] / MB for row in same]
                grid.rows.append([f"{way}, x {unit}", *_line(size, seconds), *_line(size, memory)])
    grid.note = "by least squares"
    return grid


def _line(sizes: Sequence[float], values: Sequence[float]) -> list[str]:
    """Return the straight line through values, as text, and the largest error of it."""
    slope, start = np.polyfit(sizes, values, 1)
    error = max(abs(start + slope * size - value) / value for size, value in zip(sizes, values, strict=True))
    return [f"{start:.3g} {'-' if slope < 0 else '+'} {abs(slope):.3g} x", f"{error:.0%}"]


def _name(row: Row) -> str:
    ranks = row.get("ranks", 0)
    return f"{row['way']}, {ranks} at once" if ranks else str(row["way"])


def _seconds(row: Row) -> float:
    return float(sum(row["seconds"].values()))


def corpus_values(content: Content) -> Values:
    """Return seconds and MB of memory of each preparation that is there."""
    found: Values = {}
    for row in content["rows"]:
        if "unavailable" not in row:
            case = f"{row['text_bytes'] / MB:.0f} MB of {row['shape']}, {row['vocabulary']:,}"
            found[_name(row), f"{case}, s"] = [[_seconds(row)]], 0.0
            found[_name(row), f"{case}, MB"] = [[row["peak_bytes"] / MB]], 0.0
    return found
