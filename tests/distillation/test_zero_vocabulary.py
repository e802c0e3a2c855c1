"""Test that losses over the vocabulary are the same where ZeRO-3 partitions both models, and work under DDP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from launch import PROGRAMS, command, history, python_path, several_runs

STEPS = 4
TERMS = [
    f"{prefix}{term}"
    for prefix in ("eval_aa_", "eval_bb_", "aa/", "bb/")
    for term in ("hidden", "attention", "logit", "mlm")
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 200)
    tiny.write_teacher(folder / "teacher")
    return folder


def run(material: Path, *configs: str | None, ranks: int) -> list[Path]:
    """Run phase 1 with each of `configs`, None for a run without DeepSpeed; return the folders that they leave."""
    flags: list[object] = ["--teacher_model", material / "teacher"]
    flags += ["--source_language", "aa", "--target_language", "bb"]
    flags += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    flags += ["--per_device_train_batch_size", 8 // ranks, "--per_device_eval_batch_size", 2, "--max_steps", STEPS]
    flags += ["--logging_steps", 1, "--logit_weight", 1, "--mlm_weight", 0.5, "--learning_rate", 1e-3]
    folders = [material / f"{config}-{ranks}" for config in configs]
    several_runs(
        [[*flags, "--output_dir", out, *(["--deepspeed", c] if c else [])] for c, out in zip(configs, folders)],
        ranks,
        cache=material / "cache",
    )
    return folders


@pytest.fixture(scope="module")
def one_rank(material: Path) -> list[Path]:
    return run(material, None, "zero3", ranks=1)


@pytest.fixture(scope="module")
def plain(one_rank: list[Path]) -> Path:
    """Return the folder of a run by plain python without DeepSpeed, on one rank."""
    return one_rank[0]


@pytest.fixture(scope="module")
def two_ranks(material: Path) -> Path:
    return run(material, "zero3", ranks=2)[0]


def assert_same(folder: Path, other: Path, key: str, tolerance: float = 1e-5) -> None:
    assert history(folder, key) == pytest.approx(history(other, key), rel=tolerance), key


def test_zero_3_trains_and_validates_as_plain_python_does(one_rank: list[Path]) -> None:
    plain, zero3 = one_rank
    for key in ("loss", *TERMS):
        assert_same(zero3, plain, key)


def test_two_ranks_mask_the_same_tokens_as_one(plain: Path, two_ranks: Path) -> None:
    for key in TERMS:
        ours, theirs = history(two_ranks, key), history(plain, key)
        if key.startswith("eval"):
            assert ours[0] == pytest.approx(theirs[0], rel=1e-5), key
        # the mean of two ranks' means is not the mean over all masked positions
        assert ours == pytest.approx(theirs, rel=0.15), key


@pytest.mark.slow
def test_zero_3_on_two_ranks_trains_as_ddp_does(material: Path, two_ranks: Path) -> None:
    (folder,) = run(material, None, ranks=2)
    for key in ("loss", *TERMS):
        assert_same(two_ranks, folder, key)


def test_zero_3_validates_before_and_after_training_too(tmp_path: Path) -> None:
    script = PROGRAMS / "early_validation_zero3.py"
    _, environment = command(cache=tmp_path)
    environment["PYTHONPATH"] = python_path()
    words = [sys.executable, str(script), str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    before, first, last, after = json.loads([line for line in done.stdout.splitlines() if line.startswith("[")][-1])
    assert before == first
    assert after == last < first
