"""Tables of what trimming changed, for the terminal and for the model card."""

from __future__ import annotations

from bistil_ds.console.grid import Grid
from bistil_ds.trimming.record import TrimRecord


def trim_grids(record: TrimRecord) -> list[Grid]:
    """Return the tables of the report, and one of the hidden states by language."""
    rows = [
        [
            language,
            f"{found.compared:,} of {found.texts:,}",
            "not compared" if found.largest_difference is None else f"{found.largest_difference:g}",
        ]
        for language, found in record.agreement.items()
    ]
    columns = ["language", "texts cut the same", "largest difference"]
    return [*record.report.grids(), Grid("Hidden states of sample texts, before and after", columns, rows)]
