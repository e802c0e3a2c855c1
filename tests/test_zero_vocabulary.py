"""Losses that read weights, over the vocabulary, are the same where ZeRO-3 partitions both models; DDP works too."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from launch import general, history

STEPS = 4


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 200)
    tiny.write_teacher(folder / "teacher")
    return folder


def run(material: Path, config: str | None, ranks: int) -> Path:
    out = material / f"{config}-{ranks}"
    flags: list[object] = ["--teacher_model", material / "teacher", "--source_language", "aa", "--target_language", "bb"]
    flags += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    flags += ["--per_device_train_batch_size", 8 // ranks, "--per_device_eval_batch_size", 2, "--max_steps", STEPS]
    flags += ["--logging_steps", 1, "--logit_weight", 1, "--mlm_weight", 0.5, "--learning_rate", 1e-3]
    flags += ["--output_dir", out, *(["--deepspeed", config] if config else [])]
    done = general(*flags, ranks=ranks, cache=material / "cache")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def reference(material: Path) -> Path:
    """Plain python without DeepSpeed, one rank."""
    return run(material, None, 1)


@pytest.mark.parametrize(("config", "ranks"), [("zero3", 1), ("zero3", 2), (None, 2)])
def test_training_and_validation_agree_with_plain_python(
    material: Path, reference: Path, config: str | None, ranks: int
) -> None:
    folder = run(material, config, ranks)
    # masked positions are the same on two ranks, but the mean of two ranks' means is not the mean over all positions
    close = 1e-5 if ranks == 1 else 0.02
    for language in ("aa", "bb"):
        for term in ("hidden", "attention", "logit", "mlm"):
            before, expected = (history(out, f"eval_{language}_{term}") for out in (folder, reference))
            assert before[0] == pytest.approx(expected[0], rel=1e-5)
            assert before[-1] == pytest.approx(expected[-1], rel=close)
        assert history(folder, f"{language}/mlm") == pytest.approx(history(reference, f"{language}/mlm"), rel=10 * close)
    assert history(folder, "loss") == pytest.approx(history(reference, "loss"), rel=close)
