"""Plot a latency record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bistil_ds.benchmarking.harness.plots import Lines, Plot, relative_bars
from bistil_ds.benchmarking.models.rows import case_text

USUAL_LENGTH = 128


def latency_plots(content: Mapping[str, Any]) -> list[Plot]:
    """Return plots of each model's time divided by its reference's.

    Each combination of engine, dtype and number of threads gets a plot with bars, all at one length. If several lengths
    were measured, each of its batch sizes also gets a plot of the ratio by length.
    """
    rows = [row for row in content["rows"] if "ratio" in row and not row["control"]]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["engine"], row["dtype"], row["threads"]), []).append(row)
    return [plot for group in groups.values() for plot in (*_relative(group), *_by_length(group))]


def _relative(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Plot the ratios at one length (USUAL_LENGTH if it was measured), with a series for each batch size."""
    lengths = {row["length"] for row in rows}
    length = USUAL_LENGTH if USUAL_LENGTH in lengths else next(iter(lengths))
    ratios: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["length"] == length and row["model"] != row["reference"]:
            ratios.setdefault(case_text(row), {})[row["model"]] = row["ratio"]
    title = f"Latency, {rows[0]['engine']} {rows[0]['dtype']}"
    if len(ratios) == 1:  # a single series gets no legend
        title += f", {next(iter(ratios))}"
    return [relative_bars(title, "time over its reference's (1)", ratios)] if ratios else []


def _by_length(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Plot the ratios by length, one plot for each batch size."""
    plots: list[Plot] = []
    for batch in dict.fromkeys(row["batch"] for row in rows):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row["batch"] == batch and row["length"]:
                lines.setdefault(row["model"], []).append((row["length"], row["ratio"]["median"]))
        if lines and len(next(iter(lines.values()))) > 1:
            where = f"{rows[0]['engine']} {rows[0]['dtype']}, batch {batch}, threads {rows[0]['threads']}"
            plots.append(Lines(f"Latency by length, {where}", "tokens", "time over its reference's (1)", dict(lines)))
    return plots
