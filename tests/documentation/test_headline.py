"""Test that the short table of a page is the one that its records give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import DOCUMENTS
from made_up_results import side_by_side_result

from bistil_ds.benchmarking.harness.result_file import RESULTS, read_result
from bistil_ds.benchmarking.report.headline import headline

TABLE = re.compile(r"^<!-- headline: (.+) -->\n\s*((?:^\|.*\n)+)", re.MULTILINE)


def wrong_tables(text: str, folder: Path) -> Iterator[str]:
    """Yield each table after a comment `headline: FILE ...` that differs from what `report.py --headline` makes."""
    for names, table in TABLE.findall(text):
        grid = headline(*(read_result(folder / name) for name in names.split()))
        if table not in grid.markdown():
            yield f"{names}:\n{table}should be\n{grid.markdown()}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_short_tables_are_what_their_records_give(path: Path) -> None:
    assert list(wrong_tables(path.read_text(encoding="utf-8"), RESULTS)) == []


def test_a_table_with_another_number_is_found(tmp_path: Path) -> None:
    record = side_by_side_result(tmp_path, {("e5", "eager"): 40.0, ("k2", "eager"): 20.0})
    page = f"Words.\n\n<!-- headline: {record.name} -->\n\n{headline(read_result(record)).markdown()}"
    page = re.sub(r"^### .*\n\n", "", page, flags=re.MULTILINE)
    assert list(wrong_tables(page, tmp_path)) == []
    assert len(list(wrong_tables(page.replace("| 2.0 |", "| 2.1 |"), tmp_path))) == 1
