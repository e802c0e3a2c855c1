"""Test that a run goes on at another ZeRO stage as if nothing had stopped it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
from launch import history, several_runs

STAGES = ("zero1", "zero2", "zero3")
PAIRS = [(first, then) for first in STAGES for then in STAGES if first != then]
RESUME = ["--resume_from_checkpoint", "true"]


def flags(material: Path, out: Path, config: str) -> list[object]:
    words: list[object] = ["--teacher_model", material / "mmt", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    words += ["--per_device_train_batch_size", 4, "--max_steps", 12, "--logging_steps", 1, "--mlm_weight", 0]
    words += ["--eval_steps", 4, "--save_steps", 4, "--save_total_limit", 9, "--learning_rate", 1e-3]
    return [*words, "--weight_decay", 0.3, "--report_to", "none", "--output_dir", out, "--deepspeed", config]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run phase 1 at each stage to its end, and from its checkpoint at step 4 on at each other stage."""
    folder = tmp_path_factory.mktemp("runs")
    tiny.write_texts(folder, 300)
    tiny.write_teacher(folder / "mmt")
    several_runs([flags(folder, folder / stage, stage) for stage in STAGES], cache=folder / "cache")
    for first, then in PAIRS:
        run = folder / f"{first}-{then}"
        shutil.copytree(folder / first, run)
        for left in (*(run / f"checkpoint-{step}" for step in (8, 12)), run / "model.safetensors"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    again = [[*flags(folder, folder / f"{first}-{then}", then), *RESUME] for first, then in PAIRS]
    several_runs(again, cache=folder / "cache")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_the_loss_is_that_of_a_run_that_nothing_stopped(runs: Path, first: str, then: str) -> None:
    ours, whole = history(runs / f"{first}-{then}", "loss"), history(runs / first, "loss")
    assert len(ours) == len(whole) == 12
    assert ours == pytest.approx(whole, rel=1e-6)
    assert (runs / f"{first}-{then}" / "model.safetensors").is_file()
