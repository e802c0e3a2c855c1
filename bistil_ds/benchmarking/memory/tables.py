"""Show a memory record as a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Content, Values
from bistil_ds.benchmarking.harness.peak_memory import MiB
from bistil_ds.benchmarking.harness.plots import Bars, Plot
from bistil_ds.console.grid import Grid

STAGES = {"inference": "inference", "training": "training step"}


def memory_grids(content: Mapping[str, Any]) -> list[Grid]:
    """Return a table of parameters, load time and MiB; ratios to the reference's MiB stand in brackets."""
    given = content["arguments"]
    where = f"batch {given['batch']}, length {given['length']}, {given['dtype']}, {content['device']}"
    columns = [
        "model",
        "M parameters",
        "embeddings",
        "layers",
        "folder MiB",
        "load s",
        *(f"{s} MiB" for s in STAGES.values()),
    ]
    grid = Grid(f"Memory, {where}", columns)
    rows = {row["model"]: row for row in content["rows"]}
    for name, row in rows.items():
        reference = rows.get(row["reference"], row)
        cells = [f"{row[key] / 1e6:.1f}" for key in ("parameters", "embedding_parameters", "encoder_parameters")]
        cells.append(f"{row['folder_bytes'] / MiB:.0f}{_share(row['folder_bytes'], reference['folder_bytes'])}")
        cells.append(f"{min(row['load_seconds']):.2f}" if row["load_seconds"] else "")
        cells += [_stage(row[stage], reference[stage]) for stage in STAGES]
        grid.rows.append([name, *cells])
    kind = "resident, beyond what the libraries take"
    if content["device"] != "cpu":
        kind = "allocated on the GPU, and in square brackets the most its allocator reserved"
    shares = "in brackets: over the reference's"
    loading = "load: from a warm disk cache until every weight was read"
    grid.note = "; ".join([f"peaks: {kind}", shares, loading, *unavailable_stages(content)])
    return [grid]


def unavailable_stages(content: Mapping[str, Any]) -> list[str]:
    """Return a line for each stage of a model that could not be measured: the model, the stage and the reason."""
    return [
        f"{row['model']}, {stage}: {row[stage]['unavailable']}"
        for row in content["rows"]
        for stage in STAGES
        if "unavailable" in row[stage]
    ]


def memory_plots(content: Mapping[str, Any]) -> list[Plot]:
    """Return a plot of parameters and peak memory divided by the reference's; no plot if there are only references."""
    rows = {row["model"]: row for row in content["rows"]}
    bars = Bars("Memory", "over its reference's (1)")
    for name, row in rows.items():
        reference = rows.get(row["reference"], row)
        if reference is row:
            continue
        _add(bars, "parameters", name, row["parameters"], reference["parameters"])
        for stage, title in STAGES.items():
            if "peak" in row[stage] and "peak" in reference[stage]:
                _add(bars, f"peak, {title}", name, row[stage]["peak"], reference[stage]["peak"])
    return [bars] if bars.series else []


def _add(bars: Bars, series: str, name: str, value: float, reference: float) -> None:
    share = value / reference
    bars.series.setdefault(series, {})[name] = (share, share, share)


def _stage(found: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    if "peak" not in found:
        return "unavailable"
    reserved = f" [{found['reserved'] / MiB:.0f}]" if found.get("reserved") else ""
    return f"{found['peak'] / MiB:.0f}{reserved}{_share(found['peak'], reference.get('peak'))}"


def _share(value: float, reference: float | None) -> str:
    return f" ({value / reference:.2f})" if reference and value != reference else ""


def memory_values(content: Content) -> Values:
    stages, given = ("inference", "training"), content["arguments"]
    where = f"batch {given['batch']}, length {given['length']}, {given['dtype']}, MiB"
    peaks = {(row["model"], f"{stage}, {where}"): row[stage].get("peak") for row in content["rows"] for stage in stages}
    return {key: ([[peak / MiB]], 0.0) for key, peak in peaks.items() if peak}
