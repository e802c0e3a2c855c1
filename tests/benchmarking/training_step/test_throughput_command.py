"""The throughput command: what it refuses, and what an interrupted run keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import write_texts

from benchmarks.throughput import main
from bistil_ds.benchmarking.training_step import flags as throughput_flags


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--lengths", "0"], "--lengths 0"),
        (["--device", "nowhere"], "--device nowhere"),
        (["--ranks", "9999"], "has room for 1 to"),
        (["--zero", "4"], "invalid choice"),
        (["--teacher_model", "m", "--text_file", "{text}"], "go together"),
        (["--teachers", "int8", "--teacher_model", "/no/such", "--text_file", "{text}"], "there is no such folder"),
        (["--teachers", "int8", "--teacher_model", "/no/such", "--text_file", "/no/text"], "there is no file /no/text"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    flags: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, _ = write_texts(tmp_path, lines=4)
    assert main([flag.format(text=text) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_an_interrupted_run_keeps_and_shows_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(throughput_flags, "compare_under_zero", interrupt)
    assert main(["--quick", "--no_memory", "--device", "cpu", "--output_dir", str(tmp_path)]) == 130
    (path,) = tmp_path.glob("throughput-*.json")
    content = json.loads(path.read_text())
    assert content["interrupted"] is True
    assert [row["way"] for row in content["rows"]] == ["floor", "eager", "ours"]
    assert all(row["mfu"] > 0 for row in content["rows"])
    assert "ours" in capsys.readouterr().out
