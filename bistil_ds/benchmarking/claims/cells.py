"""Make the row of a cell for the record: scores in each language with all resamples, sizes and costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bistil_ds.benchmarking.claims.earlier import fingerprint
from bistil_ds.benchmarking.claims.pipeline import Made
from bistil_ds.benchmarking.claims.runner import Runner
from bistil_ds.benchmarking.claims.settings import Cell, Settings
from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json
from bistil_ds.runs.record import RECORD_FILE

EVALUATION = "evaluation.json"
Row = Mapping[str, Any]


def row_of(cell: Cell, settings: Settings, made: Made, runner: Runner) -> dict[str, Any]:
    """Return the row of a cell that has been evaluated.

    Raises:
        InputError: the evaluation, or the record of a step, cannot be read.
    """
    advice = f"remove {made.evaluation}"
    found = read_json(made.evaluation / EVALUATION, advice, keys=("metric", "models", "test_sets", "run"))
    (model,) = found["models"].values()
    return {
        **cell._asdict(),
        "label": settings.systems[cell.system].label,
        "settings": fingerprint(settings, cell),
        "teacher": made.teacher,
        "metric": found["metric"],
        "parameters": model["parameters"],
        "scores": {language: _score(each, found["metric"]) for language, each in model["languages"].items()},
        "test_sets": {
            language: {name: held[name] for name in ("sha256", "examples")}
            for language, held in found["test_sets"].items()
        },
        "seen_in_training": {language: held["seen_in_training"] for language, held in found["test_sets"].items()},
        "resampling": found["bootstrap"],
        "general": costs(made.general, runner),
        "tuning": costs(made.task, runner),
        "evaluated": {name: found["run"].get(name) for name in ("started", "git", "hardware")},
    }


def _score(found: Mapping[str, Any], metric: str) -> dict[str, Any]:
    return {**found["score"][metric], "resampled": found["resampled"]}


def costs(steps: Iterable[str], runner: Runner) -> dict[str, float]:
    """Return the sums over steps: tokens and FLOPs of training, and seconds of wall time, starts and saving included.

    The seconds are those of the machine as busy as it was.
    """
    sums = {"tokens": 0.0, "flops": 0.0, "seconds": 0.0}
    for step in steps:
        folder = runner.folder / step
        results = read_json(folder / RECORD_FILE, f"remove {folder}", keys=("results",))["results"]
        for part in results.get("stages", [results]):
            for name in ("tokens", "flops"):
                sums[name] += part[name]
        sums["seconds"] += runner.seconds(step)
    return sums


def check_comparable(rows: Sequence[Row]) -> None:
    """Raise InputError unless all rows have one teacher, and all of a task and target have the same resamples.

    That is, the same resamples of the same examples. Only then are they pairs.
    """
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        other = first.setdefault((row["task"], row["target"]), row)
        for name, before in (("teacher", rows[0]), ("test_sets", other), ("resampling", other)):
            if row[name] != before[name]:
                cells = " and ".join(str(Cell(*(each[part] for part in Cell._fields))) for each in (before, row))
                raise InputError(f"{cells}: differ in {name}, and cannot be compared; make one of them anew")
