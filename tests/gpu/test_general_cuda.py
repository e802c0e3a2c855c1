"""Test that phase 1 on a CUDA device has the CPU's losses, at ZeRO 2 and 3, in fp32 and with a bf16 teacher."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny
import torch
from launch import general, history

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 500)
    tiny.write_teacher(folder / "teacher")
    return folder


def losses(material: Path, name: str, *more: object) -> list[float]:
    out = material / name
    flags: list[object] = ["--teacher_model", material / "teacher", "--source_language", "aa"]
    flags += ["--target_language", "bb"]
    flags += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    flags += ["--max_steps", 20, "--logging_steps", 1, "--learning_rate", 1e-3, "--output_dir", out, *more]
    done = general(*flags, cache=material / "cache")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return history(out, "loss")


@pytest.fixture(scope="module")
def on_cpu(material: Path) -> list[float]:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        return losses(material, "cpu")
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@pytest.mark.parametrize("config", [None, "zero0", "zero2", "zero3"])
def test_cuda_and_cpu_have_the_same_losses_in_fp32(material: Path, on_cpu: list[float], config: str | None) -> None:
    flags: list[object] = ["--teacher_dtype", "float32", *(["--deepspeed", config] if config else [])]
    assert losses(material, f"cuda-{config}", *flags) == pytest.approx(on_cpu, rel=1e-3)


def test_a_bf16_teacher_and_student_train_too(material: Path, on_cpu: list[float]) -> None:
    assert losses(material, "bf16", "--bf16", "--deepspeed", "zero2") == pytest.approx(on_cpu, rel=5e-2)
