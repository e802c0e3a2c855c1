"""The table that a finished run of teacher tuning or phase 2 prints."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from bistil_ds.console.grid import Grid
from bistil_ds.console.terminal import say, show


def print_stages(record: dict[str, Any], folder: Path) -> None:
    """Print the metrics of each stage that was validated, and the folder that holds the fine-tuning and the log."""
    results = record["results"]
    stages = [stage for stage in results["stages"] if stage["metrics"]]
    names = sorted({name for stage in stages for name in stage["metrics"]})
    columns = ["stage", *(name.removeprefix("eval_") for name in names)]
    table = Grid(f"{record['arguments']['task']}: validation", columns)
    for stage in stages:
        values = [stage["metrics"].get(name) for name in names]
        table.rows.append([stage["stage"], *("" if value is None else f"{value:.2%}" for value in values)])
    show(table)
    say(f"fine-tuning: {folder}    log: tensorboard --logdir {shlex.quote(str(folder))}")
