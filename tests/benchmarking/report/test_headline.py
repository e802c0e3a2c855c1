"""Test the short table: which engines it shows, and which scores stand beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_results import latency_result, side_by_side_result

from benchmarks.report import main

TIMES = {
    ("e5", "eager"): 40.0,
    ("e5", "onnx"): 20.0,
    ("e5", "openvino"): 25.0,
    ("e5", "onnx-int8"): 16.0,
    ("e5", "openvino-int8"): 8.0,
    ("k2", "eager"): 20.0,
    ("k2", "onnx"): 12.0,
    ("k2", "openvino"): 10.0,
    ("k2", "onnx-int8"): 4.0,
    ("k2", "openvino-int8"): 5.0,
}
SCORES = {
    "e5": 0.98,
    "e5-onnx-int8": 0.96,
    "e5-openvino-int8": 0.97,
    "k2": 0.95,
    "k2-openvino": 0.96,
    "k2-openvino-int8": 0.945,
}


def scores(folder: Path, found: dict[str, float]) -> Path:
    models = {
        name: {"languages": {"en-de": {"score": {"accuracy": {"value": value}}}}, "macro_average": {}, "parameters": 1}
        for name, value in found.items()
    }
    facts: dict[str, Any] = {"examples_per_second": None}
    content = {"task": "embed", "metric": "spearman", "reference": "e5", "test_sets": {"en-de": {"metric": "accuracy"}}}
    path = folder / "evaluation.json"
    path.write_text(json.dumps({**content, "models": {name: {**facts, **each} for name, each in models.items()}}))
    return path


def table(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]


def test_each_model_stands_in_its_best_engines_with_the_scores_of_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [side_by_side_result(tmp_path, TIMES), scores(tmp_path, SCORES)]
    assert main(["--headline", *map(str, files)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"<!-- headline: {files[0].name} evaluation.json -->\n")
    head, _, *lines = table(printed)
    assert head[:4] == ["model", "engine", "MB on disk", "ms a sentence, batch 1"]
    assert head[-2:] == ["times as fast, batch 8", "en-de, accuracy"]
    assert "\nlength 128, 1 thread\n" in printed
    assert [line[:2] for line in lines] == [
        ["e5", "PyTorch"],
        ["e5", "ONNX Runtime"],
        ["e5", "OpenVINO, int8"],
        ["k2", "PyTorch"],
        ["k2", "OpenVINO"],
        ["k2", "OpenVINO, int8"],  # the faster ONNX Runtime was not scored
    ]
    assert [line[2] for line in lines] == ["4", "4", "1", "4", "4", "1"]
    assert [line[3:5] for line in lines] == [[each, each] for each in ("40", "20", "8", "20", "10", "5")]
    assert [line[5:7] for line in lines] == [[each, each] for each in ("1.0", "2.0", "5.0", "2.0", "4.0", "8.0")]
    assert [line[7] for line in lines] == ["98.0", "98.0", "97.0", "95.0", "96.0", "94.5"]


def test_an_int8_engine_that_loses_too_much_is_not_among_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = side_by_side_result(tmp_path, TIMES)
    worse = scores(tmp_path, {**SCORES, "e5-openvino-int8": 0.9699})

    def last_engines(*files: Path) -> list[str]:
        assert main(["--headline", *map(str, files)]) == 0
        _, _, *lines = table(capsys.readouterr().out)
        return list({line[0]: line[1] for line in lines}.values())

    assert last_engines(record, worse) == ["ONNX Runtime", "OpenVINO, int8"]
    assert last_engines(record) == ["OpenVINO, int8", "ONNX Runtime, int8"]  # without scores, the fastest


@pytest.mark.parametrize(("damage", "expected"), [(False, "latency.py --side_by_side"), (True, "a value is missing")])
def test_other_records_are_one_line_and_exit_code_2(
    damage: bool, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = side_by_side_result(tmp_path, TIMES) if damage else latency_result(tmp_path, "20260101-000000")
    content = json.loads(path.read_text())
    for row in content["rows"]:
        row.pop("disk_bytes")
    path.write_text(json.dumps(content))
    assert main(["--headline", str(path)]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
