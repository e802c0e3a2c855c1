"""Show what the parts of the GPU run found as tables, and say what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.console.grid import Grid

Findings = Sequence[Mapping[str, Any]]
EXACT = "as exact as PyTorch"
REHEARSAL = "rehearsal: no figure counts"


def gpu_grids(content: Content) -> list[Grid]:
    """Return a table of the parts, then one for each of parts (a), (b), (c) and (g) that found something."""
    grids = [parts_grid(content)]
    for row in content["rows"]:
        if row["part"] in GRIDS and (grid := GRIDS[row["part"]](row["findings"])).rows:
            grids.append(grid)
    return grids


def parts_grid(content: Content) -> Grid:
    """Return a table with a line for each part: how it ended, and how much of its time it took."""
    grid = Grid("Parts", ["part", "ended", "seconds", "of"], texts=2)
    for row in content["rows"]:
        ended = f"{row['status']}: {row['why']}" if row["why"] else row["status"]
        grid.rows.append([f"{row['part']}: {row['title']}", ended, _seconds(row["seconds"]), _seconds(row["budget"])])
    if content["arguments"].get("quick"):
        grid.note = REHEARSAL
    return grid


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def rates_grid(findings: Findings) -> Grid:
    """Return a table of the device's rates."""
    grid = Grid("The device", ["rate", ""])
    for found in findings:
        if "rate" in found:
            grid.rows.append([found["name"], f"{found['rate'] / 1e12:.3g} T{found['unit']}"])
        else:
            facts = (f"{name} {value}" for name, value in found["facts"].items() if value is not None)
            grid.note = ", ".join(facts)
    return grid


def checks_grid(findings: Findings) -> Grid:
    """Return a table with a line for each family of kernels and a column for each dtype."""
    dtypes = list(dict.fromkeys(found["dtype"] for found in findings))
    grid = Grid("Kernels against float64", ["family", *dtypes])
    cells = {(found["family"], found["dtype"]): found["complaint"] or EXACT for found in findings}
    for family in dict.fromkeys(found["family"] for found in findings):
        grid.rows.append([family, *(cells.get((family, dtype), "not tried") for dtype in dtypes)])
    return grid


def losses_grid(findings: Findings) -> Grid:
    """Return a table with a line for each run and each comparison of two."""
    grid = Grid("Phase 1", ["run", "kernels", "first loss", "last loss", "largest difference"], texts=2)
    notes = []
    for found in findings:
        if "note" in found:
            notes.append(found["note"])
            continue
        name = f"{found['model']}, {'ZeRO-' + str(found['zero']) if found['zero'] is not None else 'no DeepSpeed'}"
        if "error" in found:
            grid.rows.append([name, found["kernels"], "failed", "", found["error"]])
        elif "steps" in found:
            ends = [_loss(found["steps"][place]["loss"]) for place in (0, -1)] if found["steps"] else ["none", ""]
            grid.rows.append([name, found["kernels"], *ends, ""])
        else:
            verdict = f"{_difference(found)}, {'the same' if found['same'] else 'NOT THE SAME'}"
            grid.rows.append([name, "compared", "", "", verdict])
    grid.note = "; ".join(notes)
    return grid


def _loss(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.5g}"


def _difference(found: Mapping[str, Any]) -> str:
    """Return the value that differs most between two runs, and by how much."""
    if found["differences"] is None:
        return "not comparable"
    name, worst = max(found["differences"].items(), key=lambda item: item[1])
    return f"{name} {worst:.2g}"


def tests_grid(findings: Findings) -> Grid:
    """Return a table of how many tests had which outcome, and of each that failed."""
    grid = Grid("Tests that need a GPU", ["outcome", "tests"])
    collected = sum(found.get("collected", 0) for found in findings)
    outcomes = Counter(found["outcome"] for found in findings if "test" in found)
    if collected:
        counts = [*outcomes.items(), ("not run", max(0, collected - sum(outcomes.values())))]
        grid.rows += [[outcome, str(count)] for outcome, count in counts if count]
    grid.rows += [[found["test"], found["error"]] for found in findings if found.get("outcome") == "failed"]
    return grid


GRIDS: dict[str, Callable[[Findings], Grid]] = {"a": rates_grid, "b": checks_grid, "c": losses_grid, "g": tests_grid}


def failures(content: Content) -> list[str]:
    """Return a line for each part, kernel, training run or test that failed, and for each result that is not exact."""
    return [f"part {row['part']}: {line}" for row in content["rows"] for line in _failures(row)]


def _failures(row: Mapping[str, Any]) -> Iterable[str]:
    if row["status"] == "failed":
        yield row["why"]
    for found in row["findings"]:
        if found.get("complaint"):
            yield f"{found['family']} in {found['dtype']}: {found['complaint']}"
        elif "broken" in found:
            yield found["broken"]
        elif found.get("outcome") == "failed":
            yield f"{found['test']}: {found['error']}"
        elif "error" in found:
            yield f"{found['model']}, ZeRO {found['zero']}, {found['kernels']}: {found['error']}"
        elif found.get("same") is False:
            yield f"{found['model']}, ZeRO {found['zero']}: losses differ: {_difference(found)}"
