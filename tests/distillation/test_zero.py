"""Test that ZeRO 0 to 3 on one rank and two train the same student as a run without DeepSpeed."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from launch import general, history
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

STEPS = 20


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 500)
    tiny.write_teacher(folder / "teacher")
    return folder


def run(material: Path, out: Path, config: str | None, ranks: int, *more: object) -> Path:
    flags: list[object] = ["--teacher_model", material / "teacher", "--source_language", "aa"]
    flags += ["--target_language", "bb"]
    flags += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    flags += ["--per_device_train_batch_size", 8 // ranks, "--max_steps", STEPS, "--logging_steps", 1]
    flags += ["--learning_rate", 1e-3, "--output_dir", out, *(["--deepspeed", config] if config else []), *more]
    done = general(*flags, ranks=ranks, cache=material / "cache")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def reference(material: Path) -> Path:
    """Run phase 1 by plain python without DeepSpeed, on one rank."""
    return run(material, material / "plain", None, 1)


def test_the_reference_run_learns(reference: Path) -> None:
    losses = history(reference, "loss")
    assert len(losses) == STEPS
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("config", "ranks"),
    [
        ("zero0", 1),
        ("zero1", 1),
        ("zero2", 1),
        ("zero3", 1),
        ("zero0", 2),
        ("zero1", 2),
        ("zero2", 2),
        ("zero3", 2),
        ("zero2_offload", 1),
        ("zero3_offload", 1),
    ],
)
def test_every_stage_and_rank_count_has_the_same_losses(
    material: Path, reference: Path, config: str, ranks: int
) -> None:
    folder = run(material, material / f"{config}-{ranks}", config, ranks)
    torch.testing.assert_close(history(folder, "loss"), history(reference, "loss"), rtol=1e-5, atol=0)
    torch.testing.assert_close(history(folder, "eval_loss"), history(reference, "eval_loss"), rtol=1e-5, atol=0)
    names = [load_file(each / "model.safetensors").keys() for each in (folder, reference)]
    assert names[0] == names[1]  # a tied weight is saved once, under the name every model class looks for
    ids = AutoTokenizer.from_pretrained(folder)("bake lomi", return_tensors="pt")
    logits = [AutoModelForMaskedLM.from_pretrained(each)(**ids).logits for each in (folder, reference)]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-3)
