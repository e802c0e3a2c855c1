"""Test that ZeRO 0 to 3 on one rank and two train the same student as a run without DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from launch import history, several_runs
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.distributed.config import find_config, read_config

STEPS = 12


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 500)
    tiny.write_teacher(folder / "teacher")
    return folder


UNGATHERED = "ungathered"  # a file of the user's own, which does not gather weights when a model is saved
CONFIGS: dict[int, list[str | None]] = {
    1: [None, "zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload", UNGATHERED],  # None: no DeepSpeed
    2: ["zero0", "zero1", "zero2", "zero3"],
}


def write_ungathered(folder: Path) -> Path:
    config = read_config(find_config("zero3"))
    config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = False
    path = folder / f"{UNGATHERED}.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def run_all(material: Path, ranks: int) -> dict[str | None, Path]:
    """Run phase 1 with every one of `CONFIGS` on `ranks` ranks; return the folder that each leaves."""
    flags: list[object] = ["--teacher_model", material / "teacher", "--source_language", "aa"]
    flags += ["--target_language", "bb"]
    flags += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    flags += ["--per_device_train_batch_size", 8 // ranks, "--max_steps", STEPS, "--logging_steps", 1]
    flags += ["--learning_rate", 2e-3]
    files = {name: name for name in CONFIGS[ranks]} | {UNGATHERED: write_ungathered(material)}
    folders = {config: material / f"{config}-{ranks}" for config in CONFIGS[ranks]}
    several_runs(
        [
            [*flags, "--output_dir", out, *(["--deepspeed", files[name]] if name else [])]
            for name, out in folders.items()
        ],
        ranks,
        cache=material / "cache",
    )
    return folders


@pytest.fixture(scope="module")
def one_rank(material: Path) -> dict[str | None, Path]:
    return run_all(material, 1)


@pytest.fixture(scope="module")
def two_ranks(material: Path) -> dict[str | None, Path]:
    return run_all(material, 2)


@pytest.fixture(scope="module")
def reference(one_rank: dict[str | None, Path]) -> Path:
    """Return the folder of the run by plain python without DeepSpeed, on one rank."""
    return one_rank[None]


def test_the_reference_run_learns(reference: Path) -> None:
    losses = history(reference, "loss")
    assert len(losses) == STEPS
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(("config", "ranks"), [(name, n) for n in CONFIGS for name in CONFIGS[n] if name])
def test_every_stage_and_rank_count_has_the_same_losses(
    config: str, ranks: int, reference: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("one_rank" if ranks == 1 else "two_ranks")[config]
    torch.testing.assert_close(history(folder, "loss"), history(reference, "loss"), rtol=1e-5, atol=0)
    torch.testing.assert_close(history(folder, "eval_loss"), history(reference, "eval_loss"), rtol=1e-5, atol=0)
    names = [load_file(each / "model.safetensors").keys() for each in (folder, reference)]
    assert names[0] == names[1]  # a tied weight is saved once, under the name every model class looks for
    ids = AutoTokenizer.from_pretrained(folder)("bake lomi", return_tensors="pt")
    logits = [AutoModelForMaskedLM.from_pretrained(each)(**ids).logits for each in (folder, reference)]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-3)
