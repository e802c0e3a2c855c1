"""Test the evaluation command: its folder, its table, its errors, and how it ends on Ctrl-C."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from evaluation_files import Files
from tiny_task import Topics

from bistil_ds.commands import evaluate
from bistil_ds.errors import InputError
from bistil_ds.evaluation import labelled
from bistil_ds.tasks.prediction import predict


@pytest.fixture(autouse=True)
def _topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "find_task", lambda name: Topics())


def flags(files: Files, folder: Path) -> list[str]:
    models = [f"teacher={files.base}+{files.sft}", f"student={files.finished}"]
    tests = [str(path) for path in files.tests.values()]
    return ["--model", *models, "--task", "topics", "--test_file", *tests, "--resamples", "50", "--output_dir",
            str(folder)]  # fmt: skip


def test_it_leaves_json_markdown_and_a_table(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(flags(files, tmp_path / "out")) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["finished"] is True
    assert found["reference"] == "teacher"
    assert list(found["test_sets"]) == ["aa", "bb"]
    assert found["run"]["versions"]["torch"]
    assert found["run"]["finished"]
    student = found["models"]["student"]
    score = student["languages"]["aa"]["score"]["accuracy"]
    assert score["low"] <= score["value"] <= score["high"]
    assert student["languages"]["aa"]["counts"] == [round(40 * score["value"]), 40]
    assert student["macro_average"]["difference_to_reference"]["accuracy"]["low"] <= 1
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["results"]["scores"]["student"]["aa"] == score["value"]
    assert record["data"]["aa"]["sha256"] == found["test_sets"]["aa"]["sha256"]
    assert f"{100 * score['value']:.1f}" in (tmp_path / "out" / "evaluation.md").read_text()
    out = capsys.readouterr().out
    assert f"{100 * score['value']:.1f}" in out
    assert "macro average" in out


def test_resamples_are_kept_on_demand_and_pair_models_that_are_evaluated_apart(files: Files, tmp_path: Path) -> None:
    both = [*flags(files, tmp_path / "both"), "--keep_resamples", "true"]
    assert evaluate.main(both) == 0
    alone = ["--model", f"student={files.finished}", *both[3:]]
    assert evaluate.main([*alone[:-3], str(tmp_path / "alone"), *alone[-2:]]) == 0
    first, second = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("both", "alone"))
    found = first["models"]["student"]["languages"]["aa"]
    assert found["resampled"] == second["models"]["student"]["languages"]["aa"]["resampled"]
    assert len(found["resampled"]) == 50
    ends = np.percentile(found["resampled"], [2.5, 97.5])
    assert ends == pytest.approx([found["score"]["accuracy"][end] for end in ("low", "high")], abs=1e-6)
    assert evaluate.main(flags(files, tmp_path / "without")) == 0
    assert "resampled" not in (tmp_path / "without" / "evaluation.json").read_text()


def test_a_yaml_file_does_as_well(files: Files, tmp_path: Path) -> None:
    recipe = {
        "model": str(files.base),
        "sft": [str(files.sft)],
        "task": "topics",
        "test_file": [f"xx={files.tests['bb']}"],
        "limit": 5,
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert evaluate.main([str(tmp_path / "recipe.yaml"), "--limit", "6"]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["test_sets"]["xx"]["examples"] == 6
    assert found["models"]["base"]["sfts"] == [str(files.sft)]


def test_ctrl_c_keeps_the_finished_cells(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 6:  # each cell has a warm-up and a run, so this is the run of the third cell
            raise KeyboardInterrupt
        return predict(*args, **kwargs)

    monkeypatch.setattr(labelled, "predict", interrupted)
    assert evaluate.main(flags(files, tmp_path / "out")) == 130
    assert "what was finished is in" in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["finished"] is False
    assert found["run"]["finished"] is None
    assert set(found["models"]["teacher"]["languages"]) == {"aa", "bb"}
    assert found["models"]["teacher"]["languages"]["aa"]["score"]["accuracy"]["low"] is None
    assert found["models"]["student"]["languages"] == {}
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "Unfinished: 2 of 4 cells were run." in text


def test_a_result_that_does_not_load_is_not_recorded_as_finished(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damaged(folder: Path) -> None:
        raise InputError(f"{folder}: damaged")

    monkeypatch.setattr(evaluate, "read_result", damaged)
    assert evaluate.main([*flags(files, tmp_path / "out"), "--limit", "2"]) == 1
    assert "its result does not load" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--model", "./no/where"], "error: --model ./no/where: there is no such folder"),
        (["--label_map", "DATE"], "error: --label_map DATE: expected NAME=NAME"),
        (["--limit", "0"], "error: --limit 0: expected at least 1"),
        (["--sft", "s"], "error: --sft: goes with one --model"),
        (["--reference", "me"], "error: --reference me: is none of the models"),
        (["--limt", "3"], "error: unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    assert evaluate.main([*flags(files, tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(message)
    assert not (tmp_path / "out").exists()


def test_a_length_without_room_is_refused_before_the_folder_is_made(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("--max_length 2: leaves no room")

    monkeypatch.setattr(Topics, "features", refuse)
    assert evaluate.main(flags(files, tmp_path / "out")) == 2
    assert capsys.readouterr().err.endswith("error: --max_length 2: leaves no room\n")
    assert not (tmp_path / "out").exists()


def test_mapped_labels_are_told_with_the_scores(files: Files, tmp_path: Path) -> None:
    assert evaluate.main([*flags(files, tmp_path / "out"), "--label_map", "DATE=O", "PERSON=PER"]) == 0
    assert "Labels read as others: DATE as O, PERSON as PER." in (tmp_path / "out" / "evaluation.md").read_text()
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["label_map"]["DATE"] == "O"


def test_a_fine_tuning_without_a_model_is_not_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--sft", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: --model --test_file --task missing")


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--model", "x"]) == 2
    assert capsys.readouterr().err == (
        "error: --test_file --task missing: give all of --model, --test_file, --task, or none\n"
    )


def test_a_folder_that_is_not_empty_is_refused(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert evaluate.main(flags(files, tmp_path)) == 2
    assert capsys.readouterr().err == f"error: --output_dir {tmp_path}: is not empty; choose another folder\n"


def test_without_models_and_files_it_takes_the_sample(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bistil_ds.sample.sample_mmt", lambda: files.base)
    monkeypatch.setattr("bistil_ds.commands.sample_runs.sample_teacher_sft", lambda task: files.sft)
    monkeypatch.setattr("bistil_ds.commands.sample_runs.sample_student_and_sft", lambda task: (files.base, files.sft))
    monkeypatch.setattr("bistil_ds.sample.tasks.sample_task_file", lambda task, language, part: files.tests["aa"])
    assert evaluate.main(["--output_dir", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(found["models"]) == ["teacher", "student"]
    assert list(found["test_sets"]) == ["en", "tr"]
    assert evaluate.main(["--task", "nli"]) == 2


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    page = capsys.readouterr().out
    for name in [*evaluate.EvaluationArguments.__dataclass_fields__, "pooling", "normalise", "prompt"]:
        assert f"--{name}" in page
