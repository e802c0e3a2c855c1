"""Test that cells of earlier records are taken over, if they are what this grid would make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stand_ins.claims_grid import SETTINGS, SYSTEMS, pretend_commands, record_of, write_grid

from benchmarks.claims import main
from bistil_ds.benchmarking.claims.earlier import fingerprint
from bistil_ds.benchmarking.claims.settings import Cell, read_settings
from bistil_ds.benchmarking.harness.result_file import read_result


def test_cells_of_an_earlier_record_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main(flags) == 0
    whole = read_result(record_of(tmp_path))
    half = tmp_path / "half.json"
    half.write_text(json.dumps({**whole, "rows": whole["rows"][:12]}))  # the first seed
    ran.clear()
    there = ["--output_dir", str(tmp_path / "elsewhere" / "out")]
    assert main([*flags[:-2], *there, "--records", str(half)]) == 0
    found = read_result(record_of(tmp_path / "elsewhere"))
    assert found["arguments"]["records"] == ["half.json"]
    assert [row["scores"] for row in found["rows"]] == [row["scores"] for row in whole["rows"]]
    outputs = [Path(words[words.index("--output_dir") + 1]).name for words in ran]
    assert outputs
    assert all(name in ("teacher", "teacher-head") or "-1" in name for name in outputs)  # those of the second seed

    grid = tmp_path / "grid.yaml"
    grid.write_text(grid.read_text().replace("sparse_max_steps: 8", "sparse_max_steps: 80"))
    ran.clear()
    there[1] += "-changed"
    assert main([*flags[:-2], *there, "--records", str(half)]) == 0
    said = capsys.readouterr().out
    assert "half.json: made with other settings, so not taken over: ner-de-k2-0, ner-de-untrained-0" in said
    made = {Path(words[words.index("--output_dir") + 1]).name for words in ran}
    assert {"ner-de-k2-0", "ner-de-scratch-0"} <= made
    assert not {"ner-de-teacher-0-evaluation", "pos-de-k2-0"} & made  # they do not depend on how students learn ner


def test_rows_of_another_teacher_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main(flags) == 0
    whole = read_result(record_of(tmp_path))
    other = tmp_path / "other.json"
    for row in (whole["rows"][0], whole["rows"][-1]):  # of any task
        other.write_text(json.dumps({**whole, "rows": [{**row, "teacher": "another"}]}))
        assert main([*flags, "--records", str(other)]) == 2
        assert "differ in teacher" in capsys.readouterr().err
        assert read_result(record_of(tmp_path))["rows"] == whole["rows"]  # never a mixture


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("label: student", "label: pupil, speed: rival", set()),
        ("latency: {batch: 8}", "latency: {batch: 1}", set()),
        ("max_steps: 600", "max_steps: 600, save_steps: 50", set()),
        ("resamples: 40", "resamples: 41", set(SYSTEMS)),
        ("scratch: {steps: 7}", "scratch: {steps: 8}", {"scratch"}),
        ("head: {steps: 5}", "head: {steps: 6}", {"rival"}),
        ("max_steps: 600", "max_steps: 601", {"k2", "untrained", "scratch", "rival"}),
        ("teacher: {sparse_max_steps: 9}", "teacher: {sparse_max_steps: 10}", set(SYSTEMS)),
        ("label: student", "label: student, phase_1: {attention_weight: 0}", {"k2", "untrained", "scratch"}),
    ],
)
def test_a_row_counts_until_something_changes_that_its_model_depends_on(
    tmp_path: Path, old: str, new: str, changed: set[str]
) -> None:
    settings = []
    for name, text in (("before", SETTINGS), ("after", SETTINGS.replace(old, new))):
        (tmp_path / name).write_text(text)
        settings.append(read_settings(tmp_path / name))
    before, after = ({name: fingerprint(each, Cell("ner", "de", name, 0)) for name in SYSTEMS} for each in settings)
    assert {name for name in SYSTEMS if before[name] != after[name]} == changed
    assert fingerprint(settings[0], Cell("ner", "de", "k2", 1)) != before["k2"]


@pytest.mark.parametrize("content", [{"benchmark": "latency", "rows": []}, {"benchmark": "claims", "rows": []}])
def test_a_record_without_a_grid_cannot_be_taken_over(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.json").write_text(json.dumps(content))
    assert main([*write_grid(tmp_path / "grid"), "--records", str(tmp_path / "record.json")]) == 2
    assert "record.json: is no record of claims.py" in capsys.readouterr().err
