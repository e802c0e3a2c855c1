"""The tables that a finished run of phase 1 prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bistil_ds.training.terms import MEASURED, terms_of


def print_student_summary(record: dict[str, Any], folder: Path, console: Console) -> None:
    """Print sizes of teacher and student, and each language's terms in the first and in the best validation."""
    results, arguments = record["results"], record["arguments"]
    build = results.get("build", {})
    sizes = Table(title="sizes", title_justify="left")
    for column in ("", "parameters", "MB"):
        sizes.add_column(column, justify="left" if not column else "right")
    sizes.add_row("teacher, whole vocabulary", f"{build.get('teacher_parameters', 0):,}", "")
    sizes.add_row(
        "teacher, trimmed", f"{build.get('trimmed_teacher_parameters', 0):,}", f"{results['teacher_bytes'] / 1e6:.1f}"
    )
    sizes.add_row("student", f"{build.get('student_parameters', 0):,}", f"{results['student_bytes'] / 1e6:.1f}")
    console.print(sizes)
    before, after = results["validation_before"], results["validation_best"]
    if before and after:
        table = Table(title="validation", title_justify="left")
        for column in ("language", "term", "before", "after"):
            table.add_column(column, justify="right" if column in ("before", "after") else "left")
        for language in validated_languages(arguments):
            for term in ("loss", *(one.name for one in terms_of(phase=1)), *MEASURED):
                key = f"eval_{language}_{term}"
                if key in after:
                    table.add_row(language, term, f"{before[key]:.5g}", f"{after[key]:.5g}")
        console.print(table)
    console.print(f"student: {folder}    log: tensorboard --logdir {folder}", soft_wrap=True)


def validated_languages(arguments: dict[str, Any]) -> list[str]:
    """Return the source and the target language of a recorded run."""
    return [arguments["source_language"], arguments["target_language"]]
