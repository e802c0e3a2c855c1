"""Test that the page on reliability has the counts of the newest records of long runs."""

from __future__ import annotations

import json

from documents import REPOSITORY
from faults.campaign import in_words
from faults.long import in_words as of_hours
from fuzz.campaign import in_words as of_inputs

from bistil_ds.benchmarking.harness.result_file import RESULTS

PAGE = REPOSITORY / "docs" / "reliability.md"


def test_the_page_has_the_counts_of_the_last_kills() -> None:
    newest = max((RESULTS / "faults").glob("kills-*.json"), key=lambda path: path.stem.split("-")[-2:])
    record = json.loads(newest.read_text(encoding="utf-8"))
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "`make test-faults`" in line]
    assert any(in_words(record["counts"]) in row for row in rows), in_words(record["counts"])
    assert not any(trial["differences"] for trial in record["rows"])


def test_the_page_has_the_counts_of_the_last_inputs() -> None:
    newest = max((RESULTS / "faults").glob("fuzz-*.json"), key=lambda path: path.stem.split("-")[-2:])
    record = json.loads(newest.read_text(encoding="utf-8"))
    counts = of_inputs(record["rows"])
    assert any(counts in line for line in PAGE.read_text(encoding="utf-8").splitlines() if "`make test-fuzz`" in line)
    assert not any(row["found"] for row in record["rows"])


def test_the_page_has_the_counts_of_the_last_long_run() -> None:
    newest = max((RESULTS / "faults").glob("long-*.json"), key=lambda path: path.stem.split("-")[-2:])
    record = json.loads(newest.read_text(encoding="utf-8"))
    counts = of_hours(record)
    assert any(counts in line for line in PAGE.read_text(encoding="utf-8").splitlines() if "`make test-long`" in line)
    assert not record["differences"]
