"""Test the full-size benchmark: what it generates and shows, and a small run of every stage."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.full_size import main
from bistil_ds.benchmarking.full_size.flags import full_size_grids, full_size_values
from bistil_ds.benchmarking.full_size.material import ALPHABETS, MODELS, make_corpus, make_pieces
from bistil_ds.benchmarking.full_size.stages import STAGES
from bistil_ds.benchmarking.harness.result_file import read_result


def test_pieces_are_distinct_and_hold_every_letter_as_start_and_as_continuation() -> None:
    pieces = make_pieces(1000, "▁", "")
    assert len(set(pieces)) == len(pieces) == 1000
    assert {mark + letter for alphabet in ALPHABETS for letter in alphabet for mark in ("▁", "")} <= set(pieces)


def test_a_corpus_is_of_one_script_and_skewed(tmp_path: Path) -> None:
    starts = [piece[1:] for piece in make_pieces(2000, "▁", "") if piece.startswith("▁")]
    make_corpus(tmp_path / "a.txt", ALPHABETS[1], starts, 200)
    lines = (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()
    words = Counter(word for line in lines for word in line.split())
    assert [len(line.split()) for line in lines] == [20] * 200
    assert set("".join(words)) <= set(ALPHABETS[1])
    (_, most), *_, (_, least) = words.most_common()
    assert most > 10 * least


def test_a_stage_is_a_line_and_its_seconds_and_memory_are_compared() -> None:
    rows = [{"model": "m", "stage": "trim", "seconds": 18.93, "peak_bytes": 2_660_000_000}]
    (grid,) = full_size_grids({"rows": rows})
    assert grid.rows == [["m, trim", "18.9", "2.66"]]
    assert full_size_values({"rows": rows}) == {
        ("m", "trim, s"): ([[18.93]], 0.0),
        ("m", "trim, peak GB"): ([[2.66]], 0.0),
    }


@pytest.mark.slow
def test_a_small_run_goes_through_every_stage_of_both_models(tmp_path: Path) -> None:
    assert main(["--quick", "--output_dir", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("full_size-quick-cpu-*.json")
    rows = read_result(path)["rows"]
    assert [(row["model"], row["stage"]) for row in rows] == [(model, stage) for model in MODELS for stage in STAGES]
    by_stage = {(row["model"], row["stage"]): row for row in rows}
    for model in MODELS:
        assert by_stage[model, "trim"]["report"]["after"]["vocabulary"] < by_stage[model, "prepare"]["rows"]
        assert by_stage[model, "trim"]["peak_bytes"] > by_stage[model, "imports"]["peak_bytes"]
        assert by_stage[model, "step"]["step_seconds"] < by_stage[model, "step"]["seconds"]
