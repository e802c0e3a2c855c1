"""Take over the rows of earlier records of the grid, so that their cells need not be made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.claims.settings import SOURCE, Cell, Settings
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError

FLAG = "--records"


def fingerprint(settings: Settings, cell: Cell) -> str:
    """Return the SHA-256 (hex) of the settings that the cell's score depends on, but for the content of files."""
    system, task = settings.systems[cell.system], settings.tasks[cell.task]
    parts: dict[str, Any] = {name: getattr(settings, name) for name in ("languages", "text", "max_texts", "resamples")}
    parts["cell"] = cell._replace(system="")
    parts["task"] = [task.train, task.dev, task.test[SOURCE], task.test[cell.target], task.label_map, task.teacher]
    parts["system"] = [system.kind]
    if system.kind not in ("teacher", "trimmed"):
        taught = settings.systems[system.of] if system.of else system
        parts["system"] += [taught.phase_1, taught.languages, taught.budget, taught.head, system.phase_2]
        parts |= {"phase_1": settings.phase_1, "student": task.student}
        parts |= {"head": settings.head} if taught.head else {}
        parts |= {"scratch": settings.scratch} if system.kind == "scratch" else {}
    return hashlib.sha256(json.dumps(_without_saving(parts), sort_keys=True).encode()).hexdigest()


def _without_saving(value: Any) -> Any:
    """Return the value without flags that say when a run saves, which change no model."""
    if isinstance(value, Mapping):
        return {name: _without_saving(each) for name, each in value.items() if not name.startswith("save_")}
    return [_without_saving(each) for each in value] if isinstance(value, (list, tuple)) else value


def earlier_rows(paths: Iterable[Path], settings: Settings) -> dict[Cell, Any]:
    """Return cell → row of the records' cells that are in the grid; of two rows for a cell, the first counts.

    Cells that were made with other settings are left out, and a note says so.

    Raises:
        InputError: a file is no record of the grid.
    """
    found: dict[Cell, Any] = {}
    wanted = set(settings.cells())
    for path in paths:
        content = read_result(path)
        if content["benchmark"] != "claims" or "roles" not in content:
            raise InputError(f"{FLAG} {path}: is no record of claims.py")
        changed = []
        for row in content["rows"]:
            cell = Cell(*(row[part] for part in Cell._fields))
            if cell not in wanted:
                continue
            if row.get("settings") != fingerprint(settings, cell):
                changed.append(str(cell))
                continue
            found.setdefault(cell, {**row, "label": settings.systems[cell.system].label})
        if changed:
            say(f"note: {FLAG} {path}: made with other settings, so not taken over: {', '.join(changed)}")
    return found
