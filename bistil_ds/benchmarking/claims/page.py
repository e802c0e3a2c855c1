"""Write the page of a claims record, in Markdown: verdicts, picture and tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bistil_ds.benchmarking.claims.tables import claims_grids, is_evaluation
from bistil_ds.benchmarking.claims.verdicts import verdicts
from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.console.untrusted import in_markdown
from bistil_ds.runs.files import write_whole


def write_page(path: Path, content: Content) -> Iterator[Path]:
    """Write the page beside the record at `path`, with the ending .md, and yield its path."""
    if not content["rows"] or is_evaluation(content):
        return
    picture = path.with_suffix(".svg")
    parts = ["# BiStil's claims", "", *(f"- {in_markdown(each.sentence)}" for each in verdicts(content)), ""]
    if picture.is_file():
        parts += [f"![Quality kept against speed]({picture.name})", ""]
    _, *grids = claims_grids(content)
    page = path.with_suffix(".md")
    write_whole(page, "\n".join([*parts, *(grid.markdown() for grid in grids)]))
    yield page
