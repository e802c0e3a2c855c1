"""Test the corpus benchmark: what it generates, the limit of memory, the fitted lines, and a small run."""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.corpus import main
from bistil_ds.benchmarking.corpus.material import make_tokenizer, make_words, write_corpus
from bistil_ds.benchmarking.corpus.memory_limit import PeakMemory, anonymous_memory, limit_memory
from bistil_ds.benchmarking.corpus.tables import corpus_grids, corpus_values
from bistil_ds.benchmarking.harness.own_process import RemoteError, run_in_own_process
from bistil_ds.benchmarking.harness.result_file import read_result

WORDS = [f"word{number}" for number in range(50)]


@pytest.mark.parametrize(("shape", "in_line"), [("lines", 20), ("documents", 2000), ("words", 1), ("one", None)])
def test_a_corpus_has_its_size_and_shape(tmp_path: Path, shape: str, in_line: int | None) -> None:
    path, written = write_corpus(tmp_path, 40_000, shape, WORDS)
    texts = pq.read_table(path)["text"].to_pylist() if shape == "one" else path.read_text().splitlines()
    assert 40_000 <= written < 40_000 + 2000 * 8
    assert {len(text.split()) for text in texts} == {in_line} if in_line else len(texts) == 1
    assert {word for text in texts for word in text.split()} <= set(WORDS)


def test_words_are_different_and_of_one_to_three_pieces() -> None:
    tokenizer = make_tokenizer(1000)
    words = make_words(tokenizer, 500)
    assert len(set(words)) == 500
    assert len(tokenizer) == 1000
    lengths = [len(ids) for ids in tokenizer(words, add_special_tokens=False)["input_ids"]]
    assert {1, 2, 3} <= set(lengths)


def test_anonymous_memory_is_what_this_process_holds() -> None:
    with PeakMemory() as peak:
        start = peak.bytes
        with mmap.mmap(-1, 200_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:  # pages of its own
            held.write(b"1" * len(held))
            assert anonymous_memory() - start > 0.9 * len(held)
            until = time.monotonic() + 60
            while peak.bytes - start < 0.9 * len(held):  # sampled by a thread
                assert time.monotonic() < until
                time.sleep(0.01)


def _fill(limit: int, size: int) -> int:
    limit_memory(limit)
    return int(np.ones(size, np.uint8).sum())


def test_a_process_cannot_take_more_than_its_limit() -> None:
    assert run_in_own_process(_fill, 4 * 10**9, 10**7) == 10**7
    with pytest.raises(RemoteError, match="MemoryError"):
        run_in_own_process(_fill, 10**9, 2 * 10**9)


def _row(size: float, vocabulary: int = 1000, **more: Any) -> dict[str, Any]:
    found = {
        "seconds": {"count": 1 + size / 1e6, "tokenise": 1.0},
        "passed": 5.0,
        "peak_bytes": 50e6,
        "resident_bytes": 70e6,
    }
    return {"way": "ours", "shape": "lines", "text_bytes": size, "vocabulary": vocabulary, **found, **more}


def test_rates_and_lines_are_shown_and_so_is_why_there_are_none() -> None:
    rows = [_row(1e6), _row(2e6), _row(4e6), _row(1e6, 2000), _row(1.001e6, 9000)]
    failed = {key: rows[0][key] for key in ("shape", "text_bytes", "vocabulary")}
    rows.append({**failed, "way": "datasets", "unavailable": "MemoryError"})
    content = {"rows": rows, "arguments": {"limit_gb": 3.0}}
    measured, fits = corpus_grids(content)
    steps = "count 2, tokenise 1"
    assert measured.rows[0] == ["ours, 1.0 MB of lines, 1,000", "3.0", "0.33", "5.0", "50", "70", steps]
    assert measured.rows[-1] == ["datasets, 1.0 MB of lines, 1,000: unavailable, MemoryError"]
    assert fits.rows[0][:3] == ["ours, x MB", "2 + 1 x", "0%"]
    assert [row[0] for row in fits.rows] == ["ours, x MB", "ours, x 1,000 tokens"]
    assert corpus_values(content)["ours", "2 MB of lines, 1,000, s"] == ([[4.0]], 0.0)


@pytest.mark.slow
def test_a_small_run_prepares_the_corpus_in_both_ways(tmp_path: Path) -> None:
    assert main(["--quick", "--output_dir", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("corpus-quick-cpu-*.json")
    rows = read_result(path)["rows"]
    assert not [row for row in rows if "unavailable" in row]
    assert {row["way"] for row in rows} == {"ours", "datasets", "further rank"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(["--gigabytes", "0"], "more than 0"), (["--vocabulary", "9"], "at least 1,000"), (["--limit_gb", "-1"], "0")],
)
def test_bad_input_is_one_line(flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
