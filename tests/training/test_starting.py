"""Test that a run which its trainer refuses blocks neither its folder nor the next start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bistil_ds.errors import InputError
from bistil_ds.runs.folder import run_folder
from bistil_ds.training.starting import start


def prepared(folder: Path, resume: str | None) -> Any:
    """Write what a preparation writes."""
    (folder / "build" / "student").mkdir(parents=True)
    (folder / "build" / "student" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "run.json").write_text("{}", encoding="utf-8")
    return SimpleNamespace(folder=folder, is_new=resume is None)


def refused(folder: Path, resume: str | None = None, saves: str = "") -> None:
    def train(run: Any) -> None:
        (folder / "stage-1-full").mkdir()
        if saves:
            (folder / saves).mkdir(parents=True)
        raise InputError("the trainer does not take this")

    with pytest.raises(InputError, match="does not take this"):
        start(lambda: prepared(folder, resume), train, use_deepspeed=False)


def test_a_refused_new_run_leaves_no_folder_behind(tmp_path: Path) -> None:
    refused(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert run_folder(str(tmp_path / "run"), "general", None) == tmp_path / "run"


def test_a_file_of_the_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    refused(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("saved", ["checkpoint-3", "stage-1-full/checkpoint-3", "stage-1-full/result"])
def test_what_a_run_has_saved_stays(saved: str, tmp_path: Path) -> None:
    refused(tmp_path / "run", saves=saved)
    assert (tmp_path / "run" / "build").is_dir()
    assert (tmp_path / "run" / saved).is_dir()


def test_a_finished_model_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(b"")
    refused(tmp_path / "run")
    assert (tmp_path / "run" / "build").is_dir()


def test_a_resumed_run_stays(tmp_path: Path) -> None:
    refused(tmp_path / "run", resume="true")
    assert (tmp_path / "run" / "run.json").is_file()
