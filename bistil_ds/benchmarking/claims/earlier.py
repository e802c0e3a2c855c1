"""Take over the rows of earlier records of the grid, so that their cells need not be made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.claims.settings import SOURCE, Cell, Settings
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.errors import InputError

FLAG = "--records"
SHOWN = ("label", "speed")  # parts of a system's settings that do not change its models


def fingerprint(settings: Settings, cell: Cell) -> str:
    """Return the SHA-256 (hex) of all settings that the cell's score depends on, but for the files' content."""
    system, task = settings.systems[cell.system], asdict(settings.tasks[cell.task])
    systems = [system, *([settings.systems[system.of]] if system.of else [])]
    task["test"] = [task["test"][language] for language in (SOURCE, cell.target)]
    shared = ("languages", "text", "max_texts", "phase_1", "head", "scratch", "resamples")
    parts = {
        "cell": cell,
        "systems": [{name: value for name, value in asdict(each).items() if name not in SHOWN} for each in systems],
        "task": task,
        **{name: getattr(settings, name) for name in shared},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def earlier_rows(paths: Iterable[Path], settings: Settings) -> dict[Cell, Any]:
    """Return cell → row of the records' cells that are in the grid; of two rows for a cell, the first counts.

    Raises:
        InputError: a file is no record of the grid, or a cell was made with other settings.
    """
    found: dict[Cell, Any] = {}
    wanted = set(settings.cells())
    for path in paths:
        content = read_result(path)
        if content["benchmark"] != "claims" or "roles" not in content:
            raise InputError(f"{FLAG} {path}: is no record of claims.py")
        for row in content["rows"]:
            cell = Cell(*(row[part] for part in Cell._fields))
            if cell not in wanted:
                continue
            if row.get("settings") != fingerprint(settings, cell):
                raise InputError(f"{FLAG} {path}: {cell} was made with other settings; leave this record out")
            found.setdefault(cell, {**row, "label": settings.systems[cell.system].label})
    return found
