"""Test the throughput command: what it refuses, and what an interrupted run keeps."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from tiny import write_texts

from benchmarks.throughput import main
from bistil_ds.benchmarking.harness.peak_memory import MiB, Peak
from bistil_ds.benchmarking.training_step import flags as throughput_flags
from bistil_ds.benchmarking.training_step import measure as training_step_measure
from bistil_ds.benchmarking.training_step.measure import compare_ways, throughput_grids
from bistil_ds.benchmarking.training_step.ways import Shape, random_steps
from bistil_ds.training.speed import training_flops


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
    for row in content["rows"]:
        tokens = content["shapes"][0]["batch"] * content["shapes"][0]["length"]
        assert row["tokens_per_second"] == pytest.approx(tokens / median(row["seconds"]), rel=1e-4)
        assert row["mfu"] == pytest.approx(mfu_of(content["rows"][0], row), rel=1e-4)
    assert "ours" in capsys.readouterr().out


def test_each_table_names_the_shape_and_the_length_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compare_ways", "compare_teachers"):
        monkeypatch.setattr(throughput_flags, name, lambda *_: {"a way": {"seconds": [1.0]}})
    monkeypatch.setattr(throughput_flags, "compare_costs", lambda *_: {})
    monkeypatch.setattr(throughput_flags, "random_pair", lambda *_: ())
    words = ["--shapes", "mBERT", "mmBERT-base", "--teachers", "int8", "--lengths", "8", "16", "--no_zero"]
    assert main([*words, "--device", "cpu", "--output_dir", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("throughput-*.json")
    of_shapes = [f"{shape}, length {length}" for shape in ("mBERT", "mmBERT-base") for length in (8, 16)]
    tables = [row["table"] for row in json.loads(path.read_text())["rows"]]
    assert tables == [name for each in of_shapes for name in (each, f"our step with a cheaper teacher, {each}")]


def test_ratios_of_memory_leave_out_what_the_libraries_take(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([Peak(300 * MiB, 310 * MiB, most * MiB, 1.0) for most in (400, 600, 420)])
    monkeypatch.setattr(training_step_measure, "peak_in_own_process", lambda *_, **__: next(peaks))
    shape = Shape(length=4, batch=1, layers=2, width=8, heads=2, vocabulary=20)
    rows = compare_ways(shape, 1, torch.device("cpu"), memory=True, tell=lambda done, what: None)
    assert [row["memory_ratio"] for row in rows.values()] == [1, 3, 1.2]
    assert [row["peak_mib"] for row in rows.values()] == [400, 600, 420]
    (table,) = throughput_grids({"rows": [{"table": "t", "way": name, **row} for name, row in rows.items()]})
    assert "empty mib" in table.columns
    assert not table.note
    old = [{"table": "t", "way": "floor", "peak_mib": 400.0, "memory_ratio": 1.0}]
    assert "with what the libraries take" in throughput_grids({"rows": old})[0].note


def mfu_of(other: dict[str, Any], row: dict[str, Any]) -> float:
    """Return the utilisation of `row` that follows from another way, which does the same work on the same machine."""
    return float(other["mfu"] * row["tokens_per_second"] / other["tokens_per_second"])


def test_utilisation_is_work_over_the_rate_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape(length=16, batch=2, layers=4, width=16, heads=2, vocabulary=50)
    monkeypatch.setattr(training_step_measure, "matmul_rate", lambda device, dtype: 1e9)
    rows = compare_ways(shape, 2, torch.device("cpu"), memory=False, tell=lambda done, what: None)
    steps = random_steps(shape, torch.device("cpu"))
    flops = training_flops(steps.student, steps.teacher, shape.length)
    for row in rows.values():
        assert row["mfu"] == pytest.approx(row["tokens_per_second"] * flops / 1e9)
