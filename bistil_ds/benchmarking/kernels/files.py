"""Show a record of the kernel benchmark as a table, as CSV and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bistil_ds.benchmarking.harness.benchmark import Content, Values
from bistil_ds.benchmarking.kernels.case import OURS
from bistil_ds.console.grid import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = {"eager": "o", "compiled": "s", "liger": "^", "fused_adamw": "D"}
Rows = Sequence[Mapping[str, Any]]


def write_csv(path: Path, rows: Rows) -> None:
    """Write every row as CSV, without raw samples."""
    columns = [x for x in dict.fromkeys(key for row in rows for key in row) if not x.endswith("samples")]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def draw(rows: Rows, title: str) -> Figure:
    """Draw two panels with a row for each case.

    Left: the share of the roofline (see `Bench`) that our way reaches. Right: the other ways' time divided by ours.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ours = [row for row in rows if row["way"] == OURS and "seconds" in row]
    places = {(row["kernel"], row["size"], row["dtype"]): i for i, row in enumerate(ours)}
    figure = Figure(figsize=(13, 1.5 + 0.25 * len(ours)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(range(len(ours)), [100 * row.get("of_roofline", 0.0) for row in ours])
    left.set_yticks(range(len(ours)), [f"{row['kernel']}, {row['size']}, {row['dtype']}" for row in ours], fontsize=7)
    left.invert_yaxis()
    left.set_xlabel("% of copy bandwidth or matrix-product rate, whichever binds")
    for way, mark in MARKS.items():
        points = [
            (row["time_over_ours"], places[row["kernel"], row["size"], row["dtype"]])
            for row in rows
            if row["way"] == way and "time_over_ours" in row
        ]
        if points:
            right.plot(*zip(*points), mark, label=way.replace("_", " "))
    right.axvline(1, color="grey", linewidth=0.8)
    right.set_xscale("log")
    right.set_xlabel("time over ours (right of 1: ours is faster)")
    right.legend()
    figure.suptitle(title)
    return figure


def kernel_grids(content: Content) -> list[Grid]:
    """Return a table with one line for each case and way."""
    note = "over ours: above 1, ours is faster; roofline: copy bandwidth or product rate, whichever binds"
    note += "".join(f"; {name} {rate:.3g}/s" for name, rate in content.get("rates", {}).items())
    grid = Grid("Kernels", ["case and way", "ms", "over ours", "% roofline", "MiB", "status, aims"], note=note)
    for row in content["rows"]:
        cells = [f"{row['kernel']}, {row['size']}, {row['dtype']}: {row['way']}", _shown(row.get("seconds"), 1e3)]
        cells += [_shown(row.get("time_over_ours")), _shown(row.get("of_roofline"), 100)]
        cells += [_shown(row.get("peak_bytes"), 2**-20), "; ".join(filter(None, (row["status"], row.get("aims"))))]
        grid.rows.append(cells)
    return [grid]


def kernel_values(content: Content) -> Values:
    """Return (way, case) → the seconds of each round."""
    timed = [row for row in content["rows"] if "samples" in row]
    return {
        (row["way"], f"{row['kernel']}, {row['size']}, {row['dtype']}, s"): ([[one] for one in row["samples"]], 0.0)
        for row in timed
    }


def failures(content: Content) -> list[str]:
    """Return a line for each case in which our way failed to run or returned values that are not finite."""
    failed = [row for row in content["rows"] if row["way"] == OURS and row["status"] != "ok"]
    return [f"{row['kernel']}, {row['size']}, {row['dtype']}: {row['status']}" for row in failed]


def write_files(path: Path, content: Content) -> list[Path]:
    """Write the rows as CSV and as a picture beside the record at `path`; return the two paths."""
    table, picture = path.with_suffix(".csv"), path.with_suffix(".png")
    write_csv(table, content["rows"])
    draw(content["rows"], f"Kernels on {content['device']}, {path.stem}").savefig(picture, dpi=110)
    return [table, picture]


def _shown(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else f"{value * factor:#.3g}".rstrip(".")
