"""Test what rank 0 prepares before training: a run can be resumed from any folder, but only as the same run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny

from bistil_ds.commands.general import COMMAND, prepare
from bistil_ds.console import cli
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.preparation import PreparedRun
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import Seals


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write texts and a teacher into a folder and make it the current one."""
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    tiny.write_texts(tmp_path)
    tiny.write_teacher(tmp_path / "teacher")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(*flags: object, start: str = "", output_dir: str | None = "run") -> dict[str, object]:
    words = ["--teacher_model", f"{start}teacher", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", f"{start}aa.txt", "--target_file", f"{start}bb.txt", "--max_length", "32"]
    words += [] if output_dir is None else ["--output_dir", f"{start}{output_dir}"]
    return vars(cli.parse([*words, *map(str, flags)], COMMAND.flags, COMMAND.description))


def resumed(*flags: object, start: str = "") -> PreparedRun:
    return prepare(arguments("--resume_from_checkpoint", "true", *flags, start=start))


def checkpoint(run: Path, step: int = 4) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "trainer_state.json").write_text("{}")
    checkpoints.seal(folder, 1, Seals())
    return folder


def test_a_new_run_is_built_and_recorded(place: Path) -> None:
    run = prepare(arguments())
    record = json.loads((place / "run" / "run.json").read_text())
    assert run.request.training["max_steps"] == record["arguments"]["max_steps"] == 200_000
    assert record["arguments"]["teacher_model"] == str(place / "teacher")
    assert {path.name for path in (place / "run").iterdir()} == {".lock", "build", "run.json"}


def test_without_a_folder_the_run_gets_one_of_its_own(place: Path) -> None:
    folders = {str(prepare(arguments(output_dir=None)).folder) for _ in range(2)}
    assert len(folders) == 2
    assert all((place / folder / "run.json").is_file() and folder.startswith("runs/general-") for folder in folders)


def test_a_preset_is_recorded_with_what_it_stands_for(place: Path) -> None:
    flags = vars(cli.parse(["--preset", "minilmv2"], COMMAND.flags, "", COMMAND.presets))
    run = prepare({**arguments(), **{name: flags[name] for name in ("preset", "relation_weight", "hidden_weight")}})
    recorded = json.loads((run.folder / "run.json").read_text())["arguments"]
    assert (recorded["preset"], recorded["relation_weight"], recorded["hidden_weight"]) == ("minilmv2", "1", "0")
    in_python = request_of(teacher_model="t", text={"aa": "a", "bb": "b"}, preset="minilmv2", hidden_weight="2")
    assert (in_python.losses.relation_weight, in_python.losses.hidden_weight) == ("1", "2")
    best = request_of(teacher_model="t", text={"aa": "a", "bb": "b"}, preset="best", learning_rate=1e-3)
    assert (best.training["learning_rate"], best.losses.attention_weight) == (1e-3, "0")
    with pytest.raises(InputError, match="--preset other: expected one of bistil, best, distilmbert, minilmv2"):
        request_of(teacher_model="t", text={"aa": "a", "bb": "b"}, preset="other")
    again = {**arguments("--relation_weight", "1", "--hidden_weight", "0"), "resume_from_checkpoint": "true"}
    assert not prepare(again).is_new  # the flags alone resume it


def test_the_newest_checkpoint_is_taken_up(place: Path) -> None:
    prepare(arguments())
    for step in (4, 8):
        checkpoint(place / "run", step)
    assert resumed().checkpoint == "run/checkpoint-8"


def test_a_run_killed_before_its_first_checkpoint_starts_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(arguments())
    (place / "run" / "checkpoint-4").mkdir()  # a checkpoint without a seal, as after a kill
    assert resumed().checkpoint is None
    assert "no whole checkpoint: starting at step 0" in capsys.readouterr().out


def test_a_run_is_resumed_from_another_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(arguments())
    checkpoint(place / "run")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert resumed(start="../").checkpoint == "../run/checkpoint-4"


def test_the_default_given_explicitly_is_no_other_setting(place: Path) -> None:
    prepare(arguments())
    checkpoint(place / "run")
    resumed("--max_steps", 200_000, "--layer_reduction_factor", 2)


def test_a_text_may_move_but_not_change(place: Path) -> None:
    prepare(arguments())
    checkpoint(place / "run")
    shutil.move("aa.txt", "moved.txt")
    resumed("--source_file", "moved.txt")
    with open("moved.txt", "a", encoding="utf-8") as file:
        file.write("bakelo.\n")
    with pytest.raises(InputError, match=r"--source_file moved.txt: not the text that the run in run was started with"):
        resumed("--source_file", "moved.txt")


def test_another_setting_is_refused(place: Path) -> None:
    prepare(arguments())
    checkpoint(place / "run")
    with pytest.raises(InputError, match=r"--vocab_threshold 0\.001: the run in run was started with 1e-06"):
        resumed("--vocab_threshold", "1e-3")


def test_a_run_without_its_models_is_refused(place: Path) -> None:
    prepare(arguments())
    checkpoint(place / "run")
    shutil.rmtree(place / "run" / "build")
    with pytest.raises(InputError, match="build/teacher: missing, so the run cannot be resumed; start a new one"):
        resumed()


def test_a_checkpoint_of_another_run_is_refused(place: Path) -> None:
    prepare(arguments())
    prepare(arguments(output_dir="other"))
    folder = checkpoint(place / "other")
    with pytest.raises(InputError, match="is no checkpoint of the run in run; give true, or a folder run/checkpoint-N"):
        prepare(arguments("--resume_from_checkpoint", folder))


def test_folders_of_texts_and_their_number_are_part_of_the_run(place: Path) -> None:
    for side in ("aa", "bb"):
        (place / side / "AA").mkdir(parents=True)
        (place / f"{side}.txt").rename(place / side / "AA" / "wiki_00.txt")
    folders = ("--source_file", "aa", "--target_file", "bb")
    prepare(arguments(*folders, "--max_texts", 150))
    record = json.loads((place / "run" / "run.json").read_text())
    assert record["arguments"]["max_texts"] == 150
    assert resumed(*folders, "--max_texts", 150).checkpoint is None
    with pytest.raises(InputError, match="--max_texts 140: the run in run was started with 150"):
        resumed(*folders, "--max_texts", 140)
    del record["arguments"]["max_texts"]  # as 0.1 wrote it, whose runs read all texts
    (place / "run" / "run.json").write_text(json.dumps(record))
    assert resumed(*folders).checkpoint is None
    with pytest.raises(InputError, match="--max_texts 150: the run in run was started with None"):
        resumed(*folders, "--max_texts", 150)
    with open(place / "bb" / "AA" / "wiki_00.txt", "a") as file:
        file.write("one more text\n")
    with pytest.raises(InputError, match="--target_file bb: not the text that the run in run was started with"):
        resumed(*folders)


@pytest.mark.parametrize("most", [0, -3])
def test_less_than_one_text_is_refused(place: Path, most: int) -> None:
    with pytest.raises(InputError, match=f"--max_texts {most}: expected at least 1"):
        prepare(arguments("--max_texts", most))
