"""Test the steps of the claims benchmark: they are commands that users type, and none is run twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from stand_ins.claims_grid import SETTINGS as MADE_UP
from stand_ins.claims_grid import pretend_commands

from bistil_ds.benchmarking.claims.flags import CONFIG, shortened
from bistil_ds.benchmarking.claims.on_sample import SAMPLE, link_sample
from bistil_ds.benchmarking.claims.pipeline import Pipeline, timed_steps
from bistil_ds.benchmarking.claims.runner import BusyError, OutOfTimeError, Runner, StepError
from bistil_ds.benchmarking.claims.settings import Cell, Settings, read_settings
from bistil_ds.commands import general
from bistil_ds.commands import task as task_command
from bistil_ds.commands import teacher as teacher_command
from bistil_ds.commands.evaluate import EvaluationArguments
from bistil_ds.commands.export import ExportArguments
from bistil_ds.commands.pretrain import PretrainArguments
from bistil_ds.commands.trim import TrimArguments
from bistil_ds.console import cli
from bistil_ds.errors import InputError
from bistil_ds.tasks.embed.flags import VectorArguments
from bistil_ds.trimming.options import TrimOptions

TYPES: dict[str, Sequence[type]] = {
    "general": general.COMMAND.flags,
    "pretrain": (PretrainArguments,),
    "teacher": teacher_command.COMMAND.flags,
    "task": task_command.COMMAND.flags,
    "evaluate": (EvaluationArguments, VectorArguments),
    "export": (ExportArguments, VectorArguments),
    "trim": (TrimArguments, TrimOptions),
}


def made_up(tmp_path: Path) -> Settings:
    path = tmp_path / "grid.yaml"
    path.write_text(MADE_UP)
    return read_settings(path)


def pipeline(tmp_path: Path, settings: Settings) -> Pipeline:
    return Pipeline(settings, "mmt", Path("data"), Runner(tmp_path / "out"))


def test_every_step_of_our_settings_is_a_command_its_script_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend_commands(monkeypatch)
    settings = read_settings(CONFIG)
    steps = pipeline(tmp_path, settings)
    for cell in settings.cells():
        if cell.seed == 0:
            steps.make(cell)
    named = {(words[0], *(word for word in words if word.startswith("--"))): words for words in ran}
    assert {words[0] for words in ran} == set(TYPES)
    for words in named.values():
        cli.parse(words[1:], TYPES[words[0]], "", general.PRESETS if "--preset" in words else None)
    before = len(ran)
    steps.make(Cell("ner", "de", "scratch", 0))
    assert len(ran) == before  # all of them had finished


def test_systems_are_made_as_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = pretend_commands(monkeypatch)
    settings = made_up(tmp_path)
    steps = pipeline(tmp_path, settings)
    made = {name: steps.make(Cell("ner", "de", name, 1)) for name in settings.systems}

    def words_of(step: str) -> str:
        (found,) = [words for words in ran if Path(words[words.index("--output_dir") + 1]).name == step]
        return " ".join(found)

    assert made["rival"].general == ("rival-1", "teacher-head")
    assert "--max_steps 900" in words_of("rival-1")  # three languages, with as many steps each as two have in 600
    assert "--text en=data/text/en.txt de=data/text/de.txt tr=data/text/tr.txt" in words_of("rival-1")
    assert f"--teacher_model {tmp_path}/out/teacher-head" in words_of("rival-1")
    assert "--max_steps 600" in words_of("en-de-k2-1")
    assert "--text en=data/text/en.txt de=data/text/de.txt --seed 1" in words_of("en-de-k2-1")
    assert made["untrained"].general == ()
    assert "en-de-k2-1/build/student" in words_of("ner-de-untrained-1")
    assert "--dense true" in words_of("ner-de-scratch-1")
    assert "--full" not in words_of("ner-de-scratch-1")
    assert "--sparse_max_steps 12" in words_of("ner-de-scratch-1")  # as many as both stages of a student have
    assert made["trimmed"].task == made["teacher"].task == ("teacher-ner-1",)
    assert "--label_map DATE=O" in words_of("ner-de-k2-1-evaluation")
    assert made["rival"].task == ("ner-all-rival-1",)
    before = len(ran)
    steps.make(Cell("ner", "tr", "rival", 1))
    assert [words[0] for words in ran[before:]] == ["evaluate"]  # one model serves all targets
    assert timed_steps(settings) == {
        "teacher": "teacher",
        "trimmed": "en-de-teacher-ner-0",
        "k2": "en-de-k2-0",
        "rival": "rival-0",
    }


def test_a_teacher_with_a_masked_lm_head_needs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = pretend_commands(monkeypatch)
    steps = pipeline(tmp_path, made_up(tmp_path))
    config = steps.base() / "config.json"
    config.write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    assert steps.make(Cell("ner", "de", "rival", 0)).general == ("rival-0",)
    assert not [words for words in ran if words[0] == "pretrain"]


@pytest.mark.parametrize(("script", "resumes"), [("general", True), ("trim", False)])
def test_a_step_that_was_interrupted_goes_on_or_begins_again(
    script: str, resumes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend_commands(monkeypatch)
    runner = Runner(tmp_path)
    folder = runner.run(script, "step", {"seed": 1})
    (folder / "run.json").write_text(json.dumps({"finished": None}))
    (folder / "left").touch()
    runner.run(script, "step", {"seed": 1})
    assert (ran[1][-2:] == ["--resume_from_checkpoint", "true"]) == resumes
    assert (folder / "left").exists() == resumes
    with pytest.raises(InputError, match="other settings"):
        runner.run(script, "step", {"seed": 2})


@pytest.mark.parametrize(("script", "left"), [("general", ["build", "stage"]), ("task", ["stage"])])
def test_a_finished_run_keeps_no_checkpoint_and_a_fine_tuning_no_models(
    script: str, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_commands(monkeypatch)
    for name in ("stage/checkpoint-3", "build/student"):
        (tmp_path / "step" / name).mkdir(parents=True)
    folder = Runner(tmp_path).run(script, "step", {})
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == left
    assert not list(folder.glob("**/checkpoint-*"))


def test_a_step_that_another_process_runs_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = pretend_commands(monkeypatch)
    made_there, runner = Runner(tmp_path), Runner(tmp_path)
    pretended = Runner._wait

    def slowly(self: Runner, words: list[str]) -> int:
        (tmp_path / "step").mkdir()
        with pytest.raises(BusyError, match="step"):
            runner.run("trim", "step", {})
        assert (tmp_path / "step").is_dir()
        return pretended(self, words)

    monkeypatch.setattr(Runner, "_wait", slowly)
    made_there.run("trim", "step", {})
    runner.run("trim", "step", {})
    assert (len(ran), made_there.commands, runner.commands) == (1, 1, 0)


def test_a_step_that_failed_is_not_tried_again_in_the_same_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend_commands(monkeypatch, fails="7")
    runner = Runner(tmp_path)
    for _ in range(2):
        with pytest.raises(StepError, match="step: exit code 7"):
            runner.run("task", "step", {"seed": 7})
    assert len(ran) == 1


@pytest.mark.parametrize("hears", [True, False])
def test_a_command_that_outlasts_the_piece_is_asked_to_save_and_stop(
    hears: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bistil_ds.benchmarking.claims.runner.SCRIPTS", tmp_path)
    handler = "signal.signal(15, lambda *_: sys.exit(75))" if hears else ""  # without one, it is still starting
    (tmp_path / "task.py").write_text(f"import signal, sys, time\n{handler}\ntime.sleep(60)")
    started = time.monotonic()
    runner = Runner(tmp_path, minutes=1 / 60)
    with pytest.raises(OutOfTimeError):
        runner.run("task", "step", {})
    assert 1 < time.monotonic() - started < 30
    assert runner.seconds("step") > 0.5  # the second began a little before the command did
    with pytest.raises(OutOfTimeError):  # and nothing is begun afterwards
        runner.run("task", "other", {})
    assert not (tmp_path / "other.step.json").exists()


def test_a_command_without_checkpoints_runs_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.benchmarking.claims.runner.SCRIPTS", tmp_path)
    program = "import pathlib, sys, time\ntime.sleep(1.5)\npathlib.Path(sys.argv[2], 'done').touch()"
    (tmp_path / "trim.py").write_text(program)
    (tmp_path / "step").mkdir()
    assert (Runner(tmp_path, minutes=1 / 60).run("trim", "step", {}) / "done").exists()


def test_settings_are_cut_to_a_few_steps_for_a_quick_run() -> None:
    ours = shortened(read_settings(CONFIG))
    assert not re.search(
        r"steps.: ([5-9]|\d\d)", str((ours.tasks, ours.phase_1, ours.head, ours.scratch, ours.systems))
    )
    short = shortened(read_settings(SAMPLE))
    assert short.phase_1["max_steps"] == short.tasks["ner"].student["sparse_max_steps"] == 4
    assert short.tasks["ner"].student["eval_strategy"] == "steps"
    assert {cell.seed for cell in short.cells()} == {0}


def test_the_sample_has_every_file_its_settings_name(tmp_path: Path) -> None:
    folder, settings = link_sample(tmp_path), read_settings(SAMPLE)
    for task in settings.tasks.values():
        assert all((folder / name).is_file() for name in (*task.train, task.dev, *task.test.values()))
    assert all((folder / settings.text.format(language=each)).is_file() for each in settings.languages)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("text: text/{language}.txt", "text: text.txt", "{language} in it"),
        ("phase_1: {max_steps: 600}", "phase_1: {}", "max_steps, the budget"),
        ("phase_1: {max_steps: 600}", "phase_1: 3", "phase_1 is 3; expected names with values"),
        ("languages: [en, de, tr]", "languages: en", "languages is 'en'; expected a list"),
        ("languages: [en, de, tr]", "languages: [de, tr]", "languages lacks en"),
        ("head: {steps: 5}\n", "", "lacks head"),
        ("kind: teacher", "kind: teecher", "systems.teacher.kind is 'teecher'"),
        ("kind: teacher", "kin: teacher", "'kin' is none of label, kind"),
        ("of: k2, label: no", "of: rivall, label: no", "systems.untrained.of: 'rivall' is none of"),
        ("of: k2, label: no", "of: teacher, label: no", "is no student with a phase 1 of its own"),
        ("rivals: [rival]", "rivals: [other]", "roles: 'other' is none of"),
        ("targets: [de]", "targets: [fr]", "grid[0]: 'fr' is none of"),
        ("targets: [de]", "targets: [tr]", "tasks.pos.test: 'tr' is none of en, de"),
        ("targets: [de]", "targets: de", "grid[0].targets is 'de'; expected a list"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "-1 is no whole number"),
        ("train: [train.txt]", "train: train.txt", "tasks.ner.train is 'train.txt'; expected a list"),
        ("  rival:", "  ../rival:", "cannot be part of a folder's name"),
        ("systems:", "system:", "systems is None"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in MADE_UP
    path = tmp_path / "grid.yaml"
    path.write_text(MADE_UP.replace(old, new))
    with pytest.raises(InputError) as raised:
        read_settings(path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"--config {path}")
