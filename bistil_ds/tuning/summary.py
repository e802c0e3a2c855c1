"""The table that a finished run of teacher tuning or phase 2 prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_stages(record: dict[str, Any], folder: Path, console: Console) -> None:
    """Print the metrics of each stage that was validated, and the folder of fine-tuning and log."""
    results = record["results"]
    table = Table(title=f"{record['arguments']['task']}: validation", title_justify="left")
    table.add_column("stage")
    stages = [stage for stage in results["stages"] if stage["metrics"]]
    names = sorted({name for stage in stages for name in stage["metrics"]})
    for name in names:
        table.add_column(name.removeprefix("eval_"), justify="right")
    for stage in stages:
        values = [stage["metrics"].get(name) for name in names]
        table.add_row(stage["stage"], *("" if value is None else f"{value:.2%}" for value in values))
    console.print(table)
    console.print(f"fine-tuning: {folder}    log: tensorboard --logdir {folder}", soft_wrap=True)
