"""Test that a full disk ends a run with one line, loses nothing, and that the same command then goes on."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
from launch import PROGRAMS, python_path
from safetensors.torch import load_file

from bistil_ds.commands import general, teacher
from bistil_ds.runs import checkpoints


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two texts, a teacher and tagged sentences."""
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 60)
    tiny.write_teacher(folder / "mmt")
    tiny.write_entities(folder / "train.txt", 20, 1)
    tiny.write_entities(folder / "dev.txt", 8, 2)
    return folder


@pytest.fixture(autouse=True)
def cache(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))


def phase_1(material: Path, out: Path) -> list[str]:
    words: list[Any] = ["--teacher_model", material / "mmt", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    words += ["--per_device_train_batch_size", 2, "--max_steps", 4, "--eval_steps", 2, "--save_steps", 2]
    words += ["--report_to", "none", "--output_dir", out, "--resume_from_checkpoint", "true"]
    return [str(word) for word in words]


def tuning(material: Path, out: Path) -> list[str]:
    words: list[Any] = ["--model", material / "mmt", "--task", "ner", "--train_file", f"aa={material / 'train.txt'}"]
    words += ["--dev_file", f"aa={material / 'dev.txt'}", "--max_length", 64, "--per_device_train_batch_size", 4]
    words += ["--full_max_steps", 2, "--sparse_max_steps", 2, "--eval_strategy", "steps", "--eval_steps", 1]
    words += ["--save_strategy", "steps", "--save_steps", 1, "--report_to", "none", "--output_dir", out]
    return [*map(str, words), "--resume_from_checkpoint", "true"]


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow above `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("command", "flags", "product"),
    [
        pytest.param(general, phase_1, "model.safetensors", id="phase 1"),
        pytest.param(teacher, tuning, "sft.safetensors", id="tuning", marks=pytest.mark.slow),
    ],
)
def test_after_a_full_disk_the_same_command_goes_on_to_the_same_bits(
    command: Any, flags: Any, product: str, material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(flags(material, tmp_path / "whole")) == 0
    models = max(path.stat().st_size for path in (tmp_path / "whole" / "build").rglob("*.safetensors"))
    capsys.readouterr()
    words = flags(material, tmp_path / "cut")
    for size in (2_000, models + 1_000):  # no room for the models; none for the state of the optimizer
        with small_files(size):
            assert command.main(words) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert errors[0].endswith("; free some space or choose another place")
        assert all(checkpoints.broken(one) for one in checkpoints.all_checkpoints(tmp_path / "cut"))
    assert command.main(words) == 0
    ours, whole = (load_file(tmp_path / name / product) for name in ("cut", "whole"))
    assert ours.keys() == whole.keys()
    assert all(ours[name].equal(whole[name]) for name in whole)


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_point_loses_nothing(material: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare, which lets a test mount a small disk")
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = json.dumps([*phase_1(material, disk / "run"), "--report_to", "tensorboard"])
    program = [sys.executable, str(PROGRAMS / "full_disk.py"), str(disk), words]
    environment = {"PYTHONPATH": python_path()}
    done = subprocess.run(
        [*inside, "env", *(f"{k}={v}" for k, v in environment.items()), *program],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= 8
    for kilobytes, (code, lines, again, same) in found.items():
        errors = [line for line in lines if line.startswith("error: ")]
        assert (code, len(errors), again, same) == (2, 1, 0, True), (kilobytes, lines)
        assert "space" in errors[0], (kilobytes, errors)
        assert not any("Traceback" in line for line in lines), (kilobytes, lines)
