"""Test that a killed run resumes to the same bits, from whole checkpoints only, also on another number of ranks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tiny
from launch import command, general, history
from safetensors.torch import load_file

STEPS = 12


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 500)
    tiny.write_teacher(folder / "teacher")
    return folder


def flags(material: Path, out: Path, config: str, ranks: int = 1, mlm: float = 0.1) -> list[object]:
    words: list[object] = ["--teacher_model", material / "teacher", "--source_language", "aa", "--target_language"]
    words += ["bb", "--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    words += ["--per_device_train_batch_size", 4 // ranks, "--gradient_accumulation_steps", 2, "--max_steps", STEPS]
    words += ["--logging_steps", 1, "--eval_steps", 4, "--save_steps", 4, "--save_total_limit", 9]
    words += ["--mlm_weight", mlm, "--output_dir", out, "--deepspeed", config]
    return words


def killed_after_step_8(cache: Path, out: Path, run: list[object], ranks: int = 1) -> None:
    words, environment = command(*run, ranks=ranks, cache=cache)
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 240
    while not (out / "checkpoint-8" / "complete.json").is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()


@pytest.fixture(scope="module")
def whole(material: Path) -> Path:
    out = material / "whole"
    done = general(*flags(material, out, "zero2"), cache=material / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_a_killed_run_resumes_to_the_same_bits(material: Path, whole: Path) -> None:
    out = material / "killed"
    killed_after_step_8(material / "cache", out, flags(material, out, "zero2"))
    (out / "checkpoint-12").mkdir(exist_ok=True)  # a run that is killed while it writes leaves such a folder
    (out / "checkpoint-12" / "model.safetensors").write_bytes(b"half")
    done = general(*flags(material, out, "zero2"), "--resume_from_checkpoint", "true", cache=material / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    assert history(out, "loss") == history(whole, "loss")
    ours, theirs = load_file(out / "model.safetensors"), load_file(whole / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_two_ranks_resume_as_one(material: Path) -> None:
    one, two = material / "one", material / "two"
    done = general(*flags(material, one, "zero2", mlm=0), cache=material / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    killed_after_step_8(material / "cache", two, flags(material, two, "zero2", ranks=2, mlm=0), ranks=2)
    words = [*flags(material, two, "zero2", mlm=0), "--resume_from_checkpoint", "true"]
    done = general(*words, cache=material / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    assert history(two, "loss") == pytest.approx(history(one, "loss"), rel=1e-5)


def test_a_tampered_checkpoint_is_not_opened(material: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    scheduler = next((out / "checkpoint-8").rglob("*optim_states.pt"))
    scheduler.write_bytes(scheduler.read_bytes()[:-1] + b"x")
    words = [*flags(material, out, "zero2"), "--resume_from_checkpoint", out / "checkpoint-8"]
    done = general(*words, cache=material / "cache")
    assert done.returncode == 2
    assert "not the bytes this run wrote" in done.stderr
    assert "Traceback" not in done.stderr


def test_resuming_with_another_setting_is_refused(material: Path, whole: Path) -> None:
    words = [*flags(material, whole, "zero2"), "--resume_from_checkpoint", "true", "--mlm_weight", "0.5"]
    done = general(*words, cache=material / "cache")
    assert done.returncode == 2
    assert "--mlm_weight 0.5: the run in" in done.stderr
