"""Test the transfer benchmark: its settings are flags of the commands, and finished runs are not repeated."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.transfer import main
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.benchmarking.transfer.flags import SETTINGS, shortened
from bistil_ds.benchmarking.transfer.on_sample import SAMPLE_SETTINGS, link_sample
from bistil_ds.benchmarking.transfer.pipeline import MODELS, Transfer
from bistil_ds.commands import general
from bistil_ds.commands import task as task_command
from bistil_ds.commands import teacher as teacher_command
from bistil_ds.commands.evaluate import EvaluationArguments
from bistil_ds.commands.pretrain import PretrainArguments
from bistil_ds.console import cli
from bistil_ds.errors import InputError

TYPES: dict[str, Sequence[type]] = {
    "general": general.COMMAND.flags,
    "pretrain": (PretrainArguments,),
    "teacher": teacher_command.COMMAND.flags,
    "task": task_command.COMMAND.flags,
    "evaluate": (EvaluationArguments,),
}


def steps(folder: Path, settings: dict[str, Any] | None = None) -> Transfer:
    return Transfer("mmt", Path("data"), folder, settings or yaml.safe_load(SETTINGS.read_text()))


def pretend_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Make each command leave the record of a finished run, an evaluation its scores; return the words of each."""
    ran: list[list[str]] = []
    run = subprocess.run

    def record(words: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        if words[0] != sys.executable:  # git, which a record asks for the commit, really runs
            return run(words, **kwargs)  # type: ignore[no-any-return]
        ran.append(words)
        folder = Path(words[words.index("--output_dir") + 1])
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"finished": "now"}))
        if Path(words[1]).stem == "evaluate":
            (folder / "evaluation.json").write_text(json.dumps(evaluation(words[words.index("--task") + 1])))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", record)
    return ran


def evaluation(task: str) -> dict[str, Any]:
    score = {"score": {"f1": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    model = {"parameters": 10, "examples_per_second": 2.0, "languages": {"tr": score}, "macro_average": score}
    content = {"task": task, "metric": "f1", "reference": "teacher", "test_sets": {"tr": {}}}
    return {**content, "models": {"teacher": model, "k2": model}}


def test_every_step_is_a_command_its_script_understands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = pretend_runs(monkeypatch)
    run = steps(tmp_path)
    for task, settings in run.settings["tasks"].items():
        for language in settings["test"]:
            if language != "en":
                run.evaluate(task, language, list(MODELS))
    scripts = {Path(words[1]).stem for words in ran}
    assert scripts == set(TYPES)
    for words in ran:
        cli.parse(words[2:], TYPES[Path(words[1]).stem], "")
    before = len(ran)
    run.evaluate("pos", "tr", list(MODELS))
    assert len(ran) == before  # all of them had finished


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: ran.append(words))
    (tmp_path / "teacher-pos").mkdir()
    (tmp_path / "teacher-pos" / "run.json").write_text(json.dumps({"finished": None}))
    steps(tmp_path).teacher("pos")
    assert ran[0][-2:] == ["--resume_from_checkpoint", "true"]


def test_other_settings_are_refused_and_an_evaluation_of_other_models_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend_runs(monkeypatch)
    run = steps(tmp_path)
    run.evaluate("pos", "de", ["k2"])
    run.evaluate("pos", "de", ["k2", "unphased"])
    assert len([words for words in ran if words[1].endswith("evaluate.py")]) == 2
    run.settings["tasks"]["pos"]["teacher"] = {"learning_rate": 1}
    with pytest.raises(InputError, match="other settings"):
        run.teacher("pos")


def test_settings_are_cut_to_a_few_steps_for_a_quick_run() -> None:
    short = shortened(SAMPLE_SETTINGS)
    assert short["phase_1"] == {**SAMPLE_SETTINGS["phase_1"], "max_steps": 4, "eval_steps": 4}
    assert short["tasks"]["ner"]["student"]["sparse_max_steps"] == 4
    assert short["tasks"]["ner"]["student"]["eval_strategy"] == "steps"


def test_the_sample_has_every_file_its_settings_name(tmp_path: Path) -> None:
    folder = link_sample(tmp_path)
    for task in SAMPLE_SETTINGS["tasks"].values():
        named = [*task["test"].values(), *(task[part].removeprefix("en=") for part in ("train", "dev"))]
        assert all((folder / name).is_file() for name in named)
        assert all((folder / "text" / f"{language}.txt").is_file() for language in task["test"])


def test_one_record_holds_every_evaluation_and_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_runs(monkeypatch)
    flags = ["--mmt", "mmt", "--data", "data", "--languages", "tr", "--tasks", "pos", "dp", "--models", "k2"]
    assert main([*flags, "--output_dir", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("transfer-cpu-*.json")
    rows = read_result(path)["rows"]
    assert [(row["target"], row["task"]) for row in rows] == [("tr", "pos"), ("tr", "dp")]
    assert rows[0] == {"target": "tr", **evaluation("pos")}
    assert "student, every 2nd layer" in capsys.readouterr().out


def test_a_step_that_fails_ends_the_run_with_its_exit_code_and_what_was_evaluated_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend_runs(monkeypatch)
    finish = subprocess.run

    def fail_at_parsing(words: list[str], **kwargs: Any) -> object:
        if "dp" in words:
            raise subprocess.CalledProcessError(7, words)
        return finish(words, **kwargs)

    monkeypatch.setattr(subprocess, "run", fail_at_parsing)
    flags = ["--mmt", "mmt", "--data", "data", "--languages", "tr", "--tasks", "pos", "dp", "--models", "k2"]
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--output_dir", str(tmp_path)])
    assert ended.value.code == 7
    assert ran
    (path,) = tmp_path.glob("transfer-cpu-*.json")
    assert [row["task"] for row in read_result(path)["rows"]] == ["pos"]
    assert read_result(path)["interrupted"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--languages", "tr", "--tasks", "poss"], "--tasks poss"),
        (["--languages", "xx"], "--languages xx"),
        (["--languages", "en"], "--languages en"),
        (["--languages", "ig", "--tasks", "pos"], "--languages ig"),
        ([], "--languages missing"),
    ],
)
def test_what_the_settings_have_no_data_for_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--mmt", "mmt", "--data", "data", *words, "--output_dir", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert main(["--mmt", "mmt", "--output_dir", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


GOOD = """
phase_1: {}
scratch: {}
tasks:
  pos: {train: en=a, dev: en=b, test: {en: a, tr: b}, teacher: {}, student: {}}
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("a: [", "not YAML"),
        ("[" * 100_000, "not YAML: more than 20"),
        ("- a\n", "found a list"),
        ("a: 1\n", "phase_1 is None"),
        (GOOD.replace("train: en=a", "train: [1]"), "tasks.pos.train is [1]"),
        (GOOD.replace("teacher: {}", "teacher: 3"), "tasks.pos.teacher is 3"),
        (GOOD.replace("tr: b", "../../tr: b"), "'../../tr' cannot be part of a folder's name"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_one_line(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_text(content)
    languages = ["../../tr"] if "../../tr" in str(content) else ["tr"]
    flags = [
        "--settings",
        str(path),
        "--tasks",
        "pos",
        "--languages",
        *languages,
        "--output_dir",
        str(tmp_path / "out"),
    ]
    assert main(["--mmt", "mmt", "--data", "data", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
