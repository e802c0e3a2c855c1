"""benchmarks/transfer.py: its settings are flags the commands know, and what is finished is not run again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from bistil_ds import cli, general, pretraining, tune_student, tune_teacher
from bistil_ds.benchmarking.transfer import steps as transfer_steps
from bistil_ds.evaluation.command import EvaluationArguments
from bistil_ds.sparse import SparseArguments
from bistil_ds.task_arguments import TaskDataArguments, TaskTrainingArguments

TASK_TYPES = (TaskDataArguments, SparseArguments, TaskTrainingArguments)
TYPES: dict[str, tuple[type, ...]] = {
    "general": general.TYPES,
    "pretrain": (pretraining.PretrainArguments,),
    "teacher": (*tune_teacher.TuneTeacher.types, *TASK_TYPES),
    "task": (*tune_student.TuneStudent.types, *TASK_TYPES),
    "evaluate": (EvaluationArguments,),
}


@pytest.fixture
def transfer() -> ModuleType:
    return transfer_steps


def steps(transfer: ModuleType, tmp_path: Path) -> Any:
    settings = yaml.safe_load(Path(transfer.__file__ or "").with_name("settings.yaml").read_text())
    return transfer.Transfer("mmt", Path("data"), tmp_path, settings)


def test_every_step_is_a_command_its_script_understands(
    transfer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def record(words: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        folder = Path(words[words.index("--output_dir") + 1])
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"finished": "now"}))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", record)
    run = steps(transfer, tmp_path)
    for task, settings in run.settings["tasks"].items():
        for language in settings["test"]:
            if language != "en":
                run.evaluate(task, language, list(transfer.MODELS))
    scripts = {Path(words[1]).stem for words in ran}
    assert scripts == set(TYPES)
    for words in ran:
        cli.parse(words[2:], TYPES[Path(words[1]).stem], "")
    before = len(ran)
    run.evaluate("pos", "tr", list(transfer.MODELS))
    assert len(ran) == before  # all finished


def test_a_run_that_was_stopped_goes_on(transfer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: ran.append(words))
    (tmp_path / "teacher-pos").mkdir()
    (tmp_path / "teacher-pos" / "run.json").write_text(json.dumps({"finished": None}))
    steps(transfer, tmp_path).teacher("pos")
    assert ran[0][-2:] == ["--resume_from_checkpoint", "true"]


def test_other_settings_are_refused_and_an_evaluation_of_other_models_is_run_again(
    transfer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def record(words: list[str], **kwargs: Any) -> None:
        ran.append(words)
        folder = Path(words[words.index("--output_dir") + 1])
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"finished": "now"}))

    monkeypatch.setattr(subprocess, "run", record)
    run = steps(transfer, tmp_path)
    run.evaluate("pos", "de", ["k2"])
    run.evaluate("pos", "de", ["k2", "unphased"])
    assert len([words for words in ran if words[1].endswith("evaluate.py")]) == 2
    run.settings["tasks"]["pos"]["teacher"] = {"learning_rate": 1}
    with pytest.raises(SystemExit, match="other settings"):
        run.teacher("pos")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--languages", "tr", "--tasks", "poss"], "--tasks poss"),
        (["--languages", "xx"], "--languages xx"),
        (["--languages", "en"], "--languages en"),
        (["--languages", "ig", "--tasks", "pos"], "--languages ig"),
    ],
)
def test_what_the_settings_have_no_data_for_is_refused(
    transfer: ModuleType,
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["transfer.py", "--mmt", "mmt", "--data", "data", *words])
    monkeypatch.setattr(transfer.Transfer, "evaluate", lambda *_: pytest.fail("nothing is to be run"))
    with pytest.raises(SystemExit) as ended:
        transfer.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
