"""The tables that a finished run of phase 1 prints."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from bistil_ds.console.grid import Grid
from bistil_ds.console.terminal import say, show
from bistil_ds.distillation.languages import recorded_languages
from bistil_ds.training.terms import MEASURED, terms_of


def print_student_summary(record: dict[str, Any], folder: Path) -> None:
    """Print sizes of teacher and student, and each language's loss terms before training and of the kept student."""
    results, arguments = record["results"], record["arguments"]
    build = results.get("build", {})
    sizes = [
        ("teacher, whole vocabulary", "teacher_parameters", None),
        ("teacher, trimmed", "trimmed_teacher_parameters", results["teacher_bytes"]),
        ("student", "student_parameters", results["student_bytes"]),
    ]
    rows = [[name, f"{build.get(key, 0):,}", "" if size is None else f"{size / 1e6:.1f}"] for name, key, size in sizes]
    show(Grid("sizes", ["", "parameters", "MB"], rows))
    before, after = results["validation_before"], results["validation_best"]
    if after:
        table = Grid("validation", ["language", "term", "before", "after"], texts=2)
        for language in recorded_languages(arguments):
            for term in ("loss", *(one.name for one in terms_of(phase=1)), *MEASURED):
                key = f"eval_{language}_{term}"
                if key in after:
                    table.rows.append([language, term, f"{before[key]:.5g}" if before else "", f"{after[key]:.5g}"])
        show(table)
    say(f"student: {folder}    log: tensorboard --logdir {shlex.quote(str(folder))}")
