"""Test that `run.json` says at any moment of a run what the run is and what it has produced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.runs import files, record
from bistil_ds.runs.record import RunRecord, git_state, read_start


def read(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def test_the_record_is_there_from_the_start_and_grows(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunRecord(
        folder, arguments={"output_dir": Path("runs/x")}, seeds={"seed": 7}, data={"source": {"sha256": "ab"}}
    )
    first = read(folder)
    assert first["arguments"] == {"output_dir": "runs/x"}
    assert first["seeds"] == {"seed": 7}
    assert first["data"] == {"source": {"sha256": "ab"}}
    assert first["versions"]["torch"] == version("torch")
    assert first["hardware"]["memory_bytes"] > 0
    assert first["finished"] is None
    record.update(results={"loss": 2.0, "steps": 1})
    record.update(results={"loss": 1.0})
    assert read(folder)["results"] == {"loss": 1.0, "steps": 1}
    record.finish()
    assert read(folder)["finished"] >= first["started"]
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_a_write_that_fails_leaves_the_last_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = RunRecord(tmp_path, arguments={})
    written.update(results={"loss": 1.0})

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(files.os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        written.update(results={"loss": 0.5})
    assert read(tmp_path)["results"] == {"loss": 1.0}


def test_an_access_token_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["general.py", "--hub_token", "hf_a", "--hub-token=hf_b", "--max_steps", "9"])
    RunRecord(tmp_path, arguments={"hub_token": "hf_c", "max_steps": 9})
    assert "hf_" not in (tmp_path / "run.json").read_text()
    assert read(tmp_path)["arguments"] == {"max_steps": 9}
    assert read(tmp_path)["command"] == ["general.py", "--hub_token", "...", "--hub-token=...", "--max_steps", "9"]
    (tmp_path / "run.json").write_text(json.dumps({**read(tmp_path), "arguments": {"hub_token": "hf_d"}}))
    RunRecord.open(tmp_path).finish()  # version 0.1 wrote it
    assert "hf_" not in (tmp_path / "run.json").read_text()


def test_git_state_names_the_commit_and_whether_the_tree_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set where tests run from a hook of git
        monkeypatch.delenv(name, raising=False)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *identity, "-C", str(tmp_path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert git_state(tmp_path) is None
    git("init", "-q")
    source = tmp_path / "__init__.py"
    source.write_text("a = 1\n")
    assert git_state(tmp_path) is None  # a repository that does not track this file
    git("add", ".")
    git("commit", "-qm", "first")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    source.write_text("a = 2\n")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": True}


def test_a_missing_package_is_recorded_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PACKAGES", ("torch", "no-such-package"))
    found = record.versions()
    assert found["no-such-package"] is None
    assert found["torch"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize("content", [None, "", "[]", '{"arguments": {}}', "[" * 100_000])
def test_a_record_that_is_missing_or_damaged_cannot_be_resumed(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json: .*; the run cannot be resumed$"):
        read_start(tmp_path)


def test_a_record_may_hold_infinite_arguments_and_names_that_are_no_utf8(tmp_path: Path) -> None:
    arguments = {"clip": float("inf"), "folder": b"out\xff".decode("utf-8", "surrogateescape")}
    RunRecord(tmp_path, arguments=arguments)
    assert read_start(tmp_path) == (arguments, {})
