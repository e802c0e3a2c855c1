"""Read how much faster than the teacher each system is, from a record of the latency benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.claims.pipeline import timed_steps
from bistil_ds.benchmarking.claims.settings import Settings
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.benchmarking.models.rows import busy_note, case_text
from bistil_ds.errors import InputError

FLAG = "--latency"


def read_speeds(path: Path, settings: Settings) -> dict[str, Any]:
    """Return the speed-ups over the teacher for the record: `of` (system → value, low, high), `case` and `record`.

    A system whose architecture was not timed is left out. The settings' `latency` tells which rows count.

    Raises:
        InputError: the file is no latency record, has no such row of the teacher, or several cases fit the settings.
    """
    content = read_result(path)
    if content["benchmark"] != "latency":
        raise InputError(f"{FLAG} {path}: is a record of {content['benchmark']}; give one of latency.py")
    rows = [row for row in content["rows"] if "ratio" in row and not row["control"] and _fits(row, settings.latency)]
    cases = sorted({f"{row['engine']} {row['dtype']}, {case_text(row)}" for row in rows})
    if len(cases) > 1:
        raise InputError(f"{FLAG} {path}: several cases fit `latency` of the settings: {'; '.join(cases)}")
    by_step = {row["model"]: row for row in rows}
    steps = timed_steps(settings)
    teacher = steps[settings.roles.teacher]
    if teacher not in by_step:
        raise InputError(f"{FLAG} {path}: has no model {teacher!r} in the case that `latency` of the settings names")
    found = {}
    for name, system in settings.systems.items():
        timed = system.speed or system.of or name  # without phase 1, from scratch: of the same architecture
        row = by_step.get(steps.get(timed, ""))
        if row is None:
            continue
        if row["reference"] != teacher:
            raise InputError(f"{FLAG} {path}: {row['model']} is compared with {row['reference']}, not with {teacher}")
        ratio = row["ratio"]
        high, low = ratio["low"] or ratio["median"], ratio["high"] or ratio["median"]
        found[name] = {"value": 1 / ratio["median"], "low": 1 / low, "high": 1 / high}
    return {"record": path.name, "case": cases[0] + busy_note(content), "of": found}


def _fits(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(row[name] == value for name, value in wanted.items())


def command(settings: Settings, folder: Path) -> str:
    """Return the command that times the systems whose models are there, to be run while the machine is idle."""
    steps = timed_steps(settings)
    teacher = steps.pop(settings.roles.teacher)
    models = " ".join(str(folder / step) for step in (teacher, *steps.values()) if (folder / step).is_dir())
    return f"python benchmarks/latency.py --model {models}"
