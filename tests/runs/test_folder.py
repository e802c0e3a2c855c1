"""Test that a run gets a folder of its own, and that a start that fails leaves nothing behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.runs.folder import is_begun, new_folder, run_folder
from bistil_ds.runs.holding import LOCK


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "20200101-000000")
    made = []
    for _ in range(3):
        with new_folder(run_folder(None, "general", None), explicit=False) as folder:
            made.append(folder.name)
    assert made == ["general-20200101-000000", "general-20200101-000000-2", "general-20200101-000000-3"]


@pytest.mark.parametrize("explicit", [True, False])
def test_a_failed_start_takes_its_folders_with_it(tmp_path: Path, explicit: bool) -> None:
    folder = tmp_path / "a" / "b" / "run"
    with pytest.raises(OSError, match="missing"), new_folder(folder, explicit=explicit):
        (folder / "missing").unlink()  # stands for any failure
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_leaves_an_empty_folder_that_was_there(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path, explicit=True):
        raise ZeroDivisionError
    assert tmp_path.is_dir()


def test_what_a_killed_preparation_left_does_not_block_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".build-x1y2" / "teacher").mkdir(parents=True)
    assert run_folder(str(tmp_path), "general", None) == tmp_path
    with new_folder(tmp_path, explicit=True):
        assert list(tmp_path.iterdir()) == [tmp_path / LOCK]


@pytest.mark.parametrize("resume", ["true", "last"])
def test_resuming_where_no_run_has_begun_may_start_one(tmp_path: Path, resume: str) -> None:
    for folder in (tmp_path, tmp_path / "not there"):
        assert run_folder(str(folder), "general", resume) == folder
        assert not is_begun(folder)
    (tmp_path / "notes.txt").write_text("not a run")
    with pytest.raises(InputError, match="holds no run to resume"):
        run_folder(str(tmp_path), "general", resume)
