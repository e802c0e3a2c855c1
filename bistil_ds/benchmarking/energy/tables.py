"""Show an energy record as tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Content, Values
from bistil_ds.benchmarking.harness.plots import Plot, relative_bars
from bistil_ds.benchmarking.harness.samples import interval_of
from bistil_ds.benchmarking.models.rows import busy_note, case_of, case_text, noise, ratio_text
from bistil_ds.console.grid import Grid


def energy_grids(content: Mapping[str, Any]) -> list[Grid]:
    """Return tables: models' joules and ratios, a command's joules, or the reason why there are none."""
    rows = content["rows"]
    missing = [row for row in rows if "unavailable" in row]
    models = [row for row in rows if "windows" in row]
    commands = [row for row in rows if "command" in row and "joules" in row]
    grids = []
    if missing:
        names = [[row["model"], "unavailable", "unavailable"] for row in missing]
        grids.append(Grid("Energy", ["model", "J/sentence", "ratio"], names, missing[0]["unavailable"]))
    if models:
        grids.append(_models(models, content))
    if commands:
        columns = ["command", "seconds", "joules, gross", "without idling", "idle W"]
        grid = Grid("Energy of commands" + " (ESTIMATE)" * commands[0]["estimate"], columns)
        for row in commands:
            cells = [_number(row[key]) for key in ("seconds", "gross_joules", "net_joules", "idle_watts")]
            grid.rows.append([row["command"], *cells])
        grids.append(grid)
    return grids


def energy_plots(content: Mapping[str, Any]) -> list[Plot]:
    """Return a plot of each model's joules per sentence relative to its reference's; no plot without a ratio."""
    rows = [
        row for row in content["rows"] if row.get("ratio") and not row["control"] and row["model"] != row["reference"]
    ]
    if not rows:
        return []
    title = "Energy a sentence" + (" (ESTIMATE)" if rows[0]["estimate"] else ", idle power subtracted")
    return [
        relative_bars(title, "over its reference's (1)", {case_text(rows[0]): {r["model"]: r["ratio"] for r in rows}})
    ]


def _models(rows: list[Mapping[str, Any]], content: Mapping[str, Any]) -> Grid:
    estimate = rows[0]["estimate"]
    columns = [
        "model",
        "J/sentence, gross",
        "J/sentence, net",
        "mJ/token, net",
        f"over reference, {interval_of(len(rows[0]['windows']))}",
        "°C before, after",
    ]
    grid = Grid(f"Energy, {case_text(rows[0])}" + " (ESTIMATE, nothing was measured)" * estimate, columns)
    notes = [content.get("meter", "")]
    if not estimate:
        notes.append(f"net: without the idle power, {rows[0]['idle_watts']:.3g} W")
        windows = [window for row in rows for window in row["windows"]]
        notes.append(f"windows of {min(window['seconds'] for window in windows):.0f} s or more")
        if updates := [window["updates"] for window in windows if window["updates"] is not None]:
            notes.append(f"the counter moved at least {min(updates)} times in each")
    for row in rows:
        if row["control"]:
            notes += [f"the same model twice: {ratio_text(row['ratio'])}"] if "ratio" in row else []
            continue
        token = row["net"] / row["length"] if row["net"] is not None else None
        shown = ratio_text(row["ratio"]) if "ratio" in row and row["model"] != row["reference"] else "1"
        if "ratio" not in row:
            shown = "reference not above idle"
        cells = [_number(row["gross"]), _number(row["net"]), _number(token, 1e3), shown, _temperatures(row["windows"])]
        grid.rows.append([row["model"], *cells])
    grid.note = "; ".join(note for note in notes if note) + busy_note(content)
    return grid


def _temperatures(windows: list[Mapping[str, Any]]) -> str:
    ends = [*windows[0]["temperature_before"], "to", *windows[-1]["temperature_after"]]
    known = [f"{each:.0f}" if isinstance(each, (int, float)) else each for each in ends if each is not None]
    return " ".join(known) if len(known) > 1 else ""


def _number(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else f"{value * factor:.4g}"


def energy_values(content: Content) -> Values:
    per_sentence: Values = {}
    noises, dtype = noise(content), content["arguments"]["dtype"]
    for row in content["rows"]:
        if row.get("net") and not row["control"]:
            joules = [sum(w["joules"].values()) - row["idle_watts"] * w["seconds"] for w in row["windows"]]
            each = [[total / (w["calls"] * row["batch"])] for total, w in zip(joules, row["windows"])]
            case = f"{dtype}, {case_text(row)}, J a sentence, net"
            per_sentence[row["model"], case] = each, noises.get(case_of(row), 0.0)
    return per_sentence
