"""Tables of what trimming changed, for the terminal and for the model card."""

from __future__ import annotations

from collections.abc import Mapping

from bistil_ds.console.grid import Grid
from bistil_ds.trimming.agreement import Agreement
from bistil_ds.trimming.record import TrimRecord


def trim_grids(record: TrimRecord) -> list[Grid]:
    """Return the tables of the report, and one of the hidden states by language."""
    rows = [
        [language, f"{found.compared:,} of {found.texts:,}", _difference(found)]
        for language, found in record.agreement.items()
    ]
    columns = ["language", "texts cut the same", "largest difference"]
    return [*record.report.grids(), Grid("Hidden states of sample texts, before and after", columns, rows)]


def each_grid(records: Mapping[str, TrimRecord]) -> Grid:
    """Return one table of models that were trimmed to one language each, by language."""
    rows = [
        [
            language,
            f"{record.report.after.vocabulary:,}",
            f"{record.report.after.bytes / 1e6:,.1f}",
            f"{part.fertility_before:.3f}",
            f"{part.fertility_after:.3f}",
            f"{part.unknown_after:.3%}",
            f"{part.unchanged:.1%}",
            _difference(record.agreement[language]),
        ]
        for language, record in records.items()
        for part in [record.report.segmentations[language]]
    ]
    columns = ["language", "tokens", "MB", "pieces a word", "after", "unknown", "cut the same", "largest difference"]
    before = next(iter(records.values())).report.before
    note = f"Before: {before.vocabulary:,} tokens, {before.bytes / 1e6:,.1f} MB. Differences are of hidden states."
    return Grid("Vocabulary trimming, a model for each language", columns, rows, note)


def _difference(found: Agreement) -> str:
    return "none compared" if found.largest_difference is None else f"{found.largest_difference:g}"
