"""Test what a command shows in a pipe: a few whole lines, no control characters, tables, and nothing of libraries."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import tiny
from launch import run_script, without_bars

from bistil_ds.commands import general

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LIBRARIES = re.compile(r"\[WARNING\]|\[INFO\]|Warning:|OMP_NUM_THREADS|hostfile|accelerator|LOAD REPORT|Gloo", re.I)


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write a teacher and texts; return the flags of phase 1 on them, all else as by default."""
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 150)
    tiny.write_teacher(folder / "mmt")
    words = ["--teacher_model", folder / "mmt", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", folder / "aa.txt", "--target_file", folder / "bb.txt", "--max_length", 32]
    return [*map(str, words), *["--per_device_train_batch_size", "2", "--max_steps", "3", "--eval_steps", "1"]]


def test_phase_1_shows_its_tables_and_one_line_of_progress(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(logging.getLogger("transformers"), "level", logging.ERROR)  # as another library may set it
    assert general.main([*flags, "--output_dir", str(tmp_path / "run")]) == 0
    out, err = capfd.readouterr()
    assert not CONTROLS.findall(out + err)
    assert not LIBRARIES.findall(out + err)
    assert len(out.splitlines()) < 45, out  # three tables
    assert without_bars(err) == [], err
    assert err.count("training: 100%") <= 1
    assert out.splitlines()[-1].startswith("student: ")


@pytest.mark.slow
def test_two_ranks_show_no_more_than_one_unless_asked(flags: list[str], tmp_path: Path) -> None:
    words = [*flags, "--deepspeed", "zero2"]
    done = run_script("general", *words, "--output_dir", tmp_path / "quiet", ranks=2, cache=tmp_path, launcher=True)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    ours = [line for line in text.splitlines() if not re.search(r"\[(launch|runner|real_accelerator)\.py", line)]
    assert not CONTROLS.findall(text)
    assert not LIBRARIES.findall("\n".join(ours))
    assert len(ours) < 50, text
    assert "[runner.py" in text  # the launcher's own lines, which --quiet leaves out
