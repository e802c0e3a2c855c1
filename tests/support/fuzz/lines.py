"""Measure which lines of the readers a share of the inputs reaches, with coverage.py."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bistil_ds
from fuzz.family import Family

PACKAGE = Path(bistil_ds.__file__).parent


def lines_reached(families: Sequence[Family], program: Path, inputs: int, seed: int) -> dict[str, Any]:
    """Run inputs of the families that name modules in a process that measures, and return the share of their lines.

    Returns:
        `lines` and `reached` of all these modules, `share` in percent, and `missed`: module → lines that were not
        reached.
    """
    measured = [family for family in families if family.lines]
    if not measured or not inputs:
        return {}
    modules = [PACKAGE / name for family in measured for name in family.lines]
    with tempfile.TemporaryDirectory() as name:
        data, report = Path(name) / "data", Path(name) / "report.json"
        coverage = [sys.executable, "-m", "coverage"]
        words = ["--inputs", str(inputs), "--seed", str(seed), "--here", "--families"]
        include = ",".join(map(str, modules))
        run = [*coverage, "run", f"--data-file={data}", f"--include={include}", str(program), *words]
        subprocess.run([*run, *(family.name for family in measured)], check=True)
        subprocess.run([*coverage, "json", f"--data-file={data}", "-o", str(report), "-q"], check=True)
        files = json.loads(report.read_text())["files"]
    missed = {
        str(Path(path).resolve().relative_to(PACKAGE)): file["missing_lines"]
        for path, file in files.items()
        if file["missing_lines"]
    }
    reached, lines = (
        sum(file["summary"][key] for file in files.values()) for key in ("covered_lines", "num_statements")
    )
    return {"inputs": inputs, "lines": lines, "reached": reached, "share": 100 * reached / lines, "missed": missed}
