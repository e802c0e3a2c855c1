"""Show a claims record as tables: verdicts, quality against the teacher's, pairs of systems, scores, and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bistil_ds.benchmarking.claims.evaluations import quality_grid
from bistil_ds.benchmarking.claims.quality import Group, Interval, Quality
from bistil_ds.benchmarking.claims.settings import SOURCE
from bistil_ds.benchmarking.claims.verdicts import quality_of, verdicts
from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.console.grid import Grid

Rows = Sequence[Mapping[str, Any]]


def claims_grids(content: Content) -> list[Grid]:
    """Return the tables of a claims record; of an `evaluation.json`, a table of its scores."""
    if is_evaluation(content):
        return [quality_grid(row) for row in content["rows"]]
    if not content["rows"]:
        return []
    quality = quality_of(content)
    return [
        verdict_grid(content),
        overview_grid(content, quality),
        pairs_grid(content, quality),
        *(scores_grid(content, quality, task) for task in dict.fromkeys(row["task"] for row in content["rows"])),
        costs_grid(content),
    ]


def is_evaluation(content: Content) -> bool:
    """Return whether the rows are evaluations by `evaluate.py`, not cells of the grid."""
    return content["benchmark"] == "claims" and "roles" not in content


def verdict_grid(content: Content) -> Grid:
    """Return a table with a line for each claim."""
    found = verdicts(content)
    grid = Grid("The claims", ["claim", "verdict", "figures"], texts=3)
    grid.rows = [[f"({each.claim})", each.verdict or "not measured", each.sentence] for each in found]
    seeds = len({row["seed"] for row in content["rows"]})
    over = "examples and seeds" if seeds > 1 else "examples alone, as there is one seed"
    notes = [f"intervals are 95 %, over {over}; docs/claims.md has the rule"]
    if content["left"]:
        notes.append(f"{content['left']} of {content['left'] + len(content['rows'])} cells are still to come")
    if content["failed"]:
        notes.append(f"failed: {', '.join(content['failed'])}")
    grid.note = "; ".join(notes)
    return grid


def labels_of(content: Content) -> dict[str, str]:
    """Return system → label, in the order of the settings."""
    labels = {row["system"]: row["label"] for row in content["rows"]}
    return {name: labels[name] for name in content["systems"] if name in labels}


def common_groups(content: Content, quality: Quality, task: str | None = None) -> list[Group]:
    """Return the groups, of a task or of all, in which teacher, student and baselines of the claims were scored.

    Only those baselines count that share the most of these groups with the student.
    """

    def shared(*systems: str) -> list[Group]:
        return [group for group in quality.groups_of(*systems) if task in (None, group.task)]

    student, baselines = content["roles"]["student"], [*content["roles"]["rivals"], content["roles"]["scratch"]]
    counts = {name: len(shared(student, name)) for name in baselines}
    most = max(counts.values())
    return shared(student, *(name for name, count in counts.items() if 0 < count == most))


def overview_grid(content: Content, quality: Quality) -> Grid:
    """Return a table with a line for each system: size, speed, quality kept, and the student's lead over it."""
    common, student = common_groups(content, quality), content["roles"]["student"]
    speeds = content["speeds"]["of"] if content["speeds"] else {}
    columns = ["system", "M parameters", "times as fast", "of the teacher's 100", "tasks and targets", "seeds"]
    grid = Grid("Quality kept in the target languages", [*columns, "student's lead"])
    for name, label in labels_of(content).items():
        rows = [row for row in content["rows"] if row["system"] == name]
        groups = quality.groups_of(name)
        shared = common if set(common) <= set(groups) else groups
        kept = quality.kept(name, shared)
        lead = quality.difference(student, name) if name != student and student in quality.systems else None
        seeds = sorted({row["seed"] for row in rows})
        grid.rows.append(
            [
                label,
                f"{fmean(row['parameters'] for row in rows) / 1e6:.1f}",
                speed_text(speeds.get(name)),
                str(kept) if kept else "",
                f"{len(shared)} of {len(quality.groups)}",
                str(len(seeds)),
                str(lead) if lead else "",
            ]
        )
    notes = [f"averages over {', '.join(map(' '.join, common)) or 'no group yet'}, unless a system has others"]
    if quality.too_low:
        notes.append(f"left out, as the teacher is not above chance: {', '.join(map(' '.join, quality.too_low))}")
    if content["speeds"]:
        notes.append(f"times: {content['speeds']['record']}, {content['speeds']['case']}")
    grid.note = "; ".join(notes)
    return grid


def pairs_grid(content: Content, quality: Quality) -> Grid:
    """Return a table of all pairs of systems: the quality kept by the row's minus that by the column's."""
    labels = {name: label for name, label in labels_of(content).items() if name != quality.teacher}
    grid = Grid("Pair by pair: quality kept by the row minus the column", ["", *labels.values()])
    for name, label in labels.items():
        cells = ["" if name == other else _difference(quality.difference(name, other)) for other in labels]
        grid.rows.append([label, *cells])
    grid.note = (
        "paired example by example and seed by seed, on the tasks, targets and seeds that both have; * marks an "
    )
    grid.note += "interval without 0"
    return grid


def scores_grid(content: Content, quality: Quality, task: str) -> Grid:
    """Return a table of a task's scores: English, a mean over targets and seeds, and each target with its interval."""
    rows = [row for row in content["rows"] if row["task"] == task]
    targets = list(dict.fromkeys(row["target"] for row in rows))
    grid = Grid(f"Scores, {task} ({rows[0]['metric']})", ["system", SOURCE, *targets, "seeds"])
    for name, label in labels_of(content).items():
        if own := [row for row in rows if row["system"] == name]:
            scores = [quality.score(name, Group(task, target)) for target in targets]
            english = fmean(row["scores"][SOURCE]["value"] for row in own)
            seeds = ", ".join(str(score[1]) if score else "-" for score in scores)
            grid.rows.append([label, f"{100 * english:.1f}", *(str(each[0]) if each else "" for each in scores), seeds])
    return grid


def costs_grid(content: Content) -> Grid:
    """Return a table of what it cost to make a model of each system, and to teach it a task; means over the cells."""
    parts = ("general", "tuning")
    names = ("M tokens", "PFLOP", "hours")
    columns = ["system", *(f"{part}: {name}" for part in ("before the task", "task") for name in names)]
    grid = Grid("Costs of a model", columns)
    for name, label in labels_of(content).items():
        own = [row for row in content["rows"] if row["system"] == name]
        cells = [label]
        for part in parts:
            for cost, unit in (("tokens", 1e6), ("flops", 1e15), ("seconds", 3600.0)):
                cells.append(f"{fmean(row[part][cost] for row in own) / unit:.3g}")
        grid.rows.append(cells)
    grid.note = "means over cells; hours as busy as the machine was; the teacher's tuning, which students learn a task "
    grid.note += "from, stands in the teacher's line only"
    return grid


def speed_text(speed: Mapping[str, float] | None) -> str:
    """Return a speed-up with its interval as text; "" if it was not measured."""
    return f"{speed['value']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})" if speed else ""


def _difference(found: Interval | None) -> str:
    if found is None:
        return ""
    return f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f}){'*' if found.low > 0 or found.high < 0 else ''}"
