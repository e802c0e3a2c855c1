"""Write the page of a GPU run: one Markdown file of what all parts found, those with records of their own included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bistil_ds.benchmarking.energy.tables import energy_grids
from bistil_ds.benchmarking.gpu.tables import REHEARSAL, gpu_grids
from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.benchmarking.harness.result_file import DAMAGED, read_result
from bistil_ds.benchmarking.kernels.case import COMPILED, EAGER, FUSED_ADAMW, LIGER, OURS
from bistil_ds.benchmarking.latency.tables import latency_grids
from bistil_ds.benchmarking.memory.tables import memory_grids
from bistil_ds.benchmarking.training_step.measure import throughput_grids
from bistil_ds.console.grid import Grid
from bistil_ds.console.untrusted import in_markdown, one_line
from bistil_ds.runs.files import write_whole

PEERS = (EAGER, COMPILED, LIGER, FUSED_ADAMW)
VERSIONS = ("python", "torch", "triton", "transformers", "deepspeed", "datasets", "bistil-ds")


def write_page(path: Path, content: Content) -> Path:
    """Write the page beside the run's record at `path`, and return its path."""
    page = path.with_suffix(".md")
    write_whole(page, page_of(content, path.parent))
    return page


def page_of(content: Content, folder: Path) -> str:
    """Return the page of a run whose other records lie in `folder`."""
    is_rehearsal = content["arguments"].get("quick")
    gpus = ", ".join(gpu["name"] for gpu in content["hardware"]["gpus"])
    parts = [f"# {'Rehearsal of a GPU run' if is_rehearsal else f'A GPU run: {in_markdown(gpus)}'}", ""]
    if is_rehearsal:
        parts += [f"**{REHEARSAL}**", ""]
    versions = (f"{name} {content['versions'].get(name) or 'missing'}" for name in VERSIONS)
    git = content["git"] or {"commit": "unknown", "dirty": False}
    commit = f"commit {git['commit'][:10]}{' with changes' if git['dirty'] else ''}"
    parts += [in_markdown("; ".join([content["date"], f"{content['arguments']['minutes']:g} minutes", commit])), ""]
    parts += [in_markdown("; ".join(versions)), ""]
    parts += [grid.markdown() for grid in gpu_grids(content)]
    for row in content["rows"]:
        parts += [_of_part(row, folder)]
    return "\n".join(parts)


def _of_part(row: Mapping[str, Any], folder: Path) -> str:
    """Return the tables of a part's records, what it left out, and the last lines of its output if it failed."""
    lines = []
    for name in row["records"]:
        lines += [f"In {in_markdown(name)}:", "", *_tables(folder / name)]
    for found in row["findings"]:
        if "skipped" in found:
            lines += [in_markdown(f"Part {row['part']} left out {found['skipped']}: {found['why']}."), ""]
    if row["error"]:
        lines += [f"The last lines of part {row['part']}, which failed:", "", *_as_block(row["error"]), ""]
    return "\n".join(lines)


def _as_block(lines: Sequence[str]) -> list[str]:
    return [f"    {one_line(line)}" for line in lines]


def _tables(path: Path) -> list[str]:
    """Return the tables of a record, or a word that it has none."""
    if not path.is_file():
        return ["nothing was measured", ""]
    try:
        content = read_result(path)
        return [grid.markdown() for grid in TABLES[content["benchmark"]](content)]
    except DAMAGED as error:  # a part that was killed may have left half a record
        return [in_markdown(f"cannot be shown ({type(error).__name__})"), ""]


def kernels_grid(content: Content) -> list[Grid]:
    """Return a table with one line for each case: our milliseconds, and the time of the other ways over ours."""
    ways = [way for way in PEERS if any(row["way"] == way for row in content["rows"])]
    grid = Grid("Kernels", ["case", "ms", "% roofline", *(f"{way} / ours" for way in ways), "status, aims"])
    for row in content["rows"]:
        if row["way"] != OURS:
            continue
        case = [row[name] for name in ("kernel", "size", "dtype")]
        others = {
            each["way"]: each for each in content["rows"] if [each[n] for n in ("kernel", "size", "dtype")] == case
        }
        cells = [", ".join(case), _number(row.get("seconds"), 1e3), _number(row.get("of_roofline"), 100)]
        cells += [_ratio(others.get(way)) for way in ways]
        grid.rows.append([*cells, "; ".join(filter(None, (row["status"], row.get("aims"))))])
    rates = (f"{name} {rate:.3g}/s" for name, rate in content.get("rates", {}).items())
    grid.note = "; ".join(["above 1: ours is faster", *rates])
    return [grid]


def _ratio(row: Mapping[str, Any] | None) -> str:
    """Return another way's time over ours, or why there is none."""
    if row is None:
        return ""
    return _number(row["time_over_ours"]) if "time_over_ours" in row else str(row["status"])


def _number(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else f"{value * factor:.3g}"


def steps_grids(content: Content) -> list[Grid]:
    """Return the tables of a step, and on a GPU one of the two aims for the whole step at each batch."""
    grids = throughput_grids(content)
    if content["device"] != "cpu" and (rows := step_aims(content)):
        grids.append(Grid("Aims for the whole step", ["aim", "measured", ""], rows))
    return grids


def step_aims(content: Content) -> list[list[str]]:
    """Return a row for each aim: at most 1.10 times the floor in bf16, and a third of the published way in fp32."""
    seconds = {(row["table"], row["way"]): median(row["seconds"]) for row in content["rows"] if row.get("seconds")}
    found = []
    for table, way in seconds:
        if way != "ours" or not table.endswith(", bfloat16"):
            continue
        ours, shape = seconds[table, way], table.removesuffix(", bfloat16")
        floor, published = seconds.get((table, "floor")), seconds.get((f"{shape}, float32", "eager"))
        if floor:
            found.append([f"{shape}: ours / floor ≤ 1.10", f"{ours / floor:.3g}", _met(ours <= 1.10 * floor)])
        if published:
            ratio = published / ours
            found.append([f"{shape}: published in fp32 / ours ≥ 3", f"{ratio:.3g}", _met(ratio >= 3)])
    return found


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


TABLES: dict[str, Callable[[Content], list[Grid]]] = {
    "kernels": kernels_grid,
    "throughput": steps_grids,
    "latency": latency_grids,
    "memory": memory_grids,
    "energy": energy_grids,
}
