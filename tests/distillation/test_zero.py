"""Test that ZeRO 0 to 3 on one rank and two train the same student as a run without DeepSpeed, with every loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from launch import PROGRAMS, command, history, python_path, several_runs
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.distributed.config import find_config, read_config

STEPS = 12
UNGATHERED = "ungathered"  # a file of the user's own, which does not gather weights when a model is saved
STAGES = ["zero0", "zero1", "zero2", "zero3"]
Run = tuple[str, str | None]  # losses, and the DeepSpeed configuration; None: no DeepSpeed
STATES, VOCABULARY = "losses of states", "losses over the vocabulary too"
# All runs on as many ranks share a process, in which those without DeepSpeed come first.
RUNS: dict[int, list[Run]] = {
    1: [
        *((STATES, None), (VOCABULARY, None)),
        *((STATES, config) for config in (*STAGES, "zero2_offload", "zero3_offload", UNGATHERED)),
        (VOCABULARY, "zero3"),
    ],
    2: [*((STATES, config) for config in STAGES), (VOCABULARY, "zero3")],
}
FLAGS: dict[str, list[object]] = {
    STATES: ["--max_steps", STEPS, "--learning_rate", 2e-3],
    VOCABULARY: [
        *("--max_steps", 4, "--learning_rate", 1e-3, "--logit_weight", 1, "--mlm_weight", 0.5),
        *("--per_device_eval_batch_size", 2),
    ],
}
LINES = {STATES: 500, VOCABULARY: 200}
TERMS = [
    f"{prefix}{term}"
    for prefix in ("eval_aa_", "eval_bb_", "aa/", "bb/")
    for term in ("hidden", "attention", "logit", "mlm")
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for losses, lines in LINES.items():
        (folder / losses).mkdir()
        tiny.write_texts(folder / losses, lines)
    tiny.write_teacher(folder / "teacher")
    config = read_config(find_config("zero3"))
    config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = False
    (folder / f"{UNGATHERED}.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def run_all(material: Path, runs: list[Run], ranks: int) -> dict[Run, Path]:
    """Run phase 1 as each of `runs` says, on `ranks` ranks; return the folder that each leaves."""
    words: list[list[object]] = []
    folders = {run: material / run[0] / f"{run[1]}-{ranks}" for run in runs}
    for (losses, config), out in folders.items():
        flags = ["--teacher_model", material / "teacher", "--source_language", "aa", "--target_language", "bb"]
        flags += [f"--source_file={material / losses / 'aa.txt'}", f"--target_file={material / losses / 'bb.txt'}"]
        flags += ["--max_length", 32, "--per_device_train_batch_size", 8 // ranks, "--logging_steps", 1]
        file = material / f"{UNGATHERED}.json" if config == UNGATHERED else config
        words.append([*flags, *FLAGS[losses], "--output_dir", out, *(["--deepspeed", file] if file else [])])
    several_runs(words, ranks, cache=material / "cache")
    return folders


@pytest.fixture(scope="module")
def one_rank(material: Path) -> dict[Run, Path]:
    return run_all(material, RUNS[1], 1)


@pytest.fixture(scope="module")
def two_ranks(material: Path) -> dict[Run, Path]:
    return run_all(material, RUNS[2], 2)


@pytest.fixture(scope="module")
def reference(one_rank: dict[Run, Path]) -> Path:
    """Return the folder of the run by plain python without DeepSpeed, on one rank."""
    return one_rank[STATES, None]


def test_the_reference_run_learns(reference: Path) -> None:
    losses = history(reference, "loss")
    assert len(losses) == STEPS
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("config", "ranks"), [(name, n) for n, runs in RUNS.items() for losses, name in runs if losses == STATES and name]
)
def test_every_stage_and_rank_count_has_the_same_losses(
    config: str, ranks: int, reference: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("one_rank" if ranks == 1 else "two_ranks")[STATES, config]
    torch.testing.assert_close(history(folder, "loss"), history(reference, "loss"), rtol=1e-5, atol=0)
    torch.testing.assert_close(history(folder, "eval_loss"), history(reference, "eval_loss"), rtol=1e-5, atol=0)
    names = [load_file(each / "model.safetensors").keys() for each in (folder, reference)]
    assert names[0] == names[1]  # a tied weight is saved once, under the name every model class looks for
    ids = AutoTokenizer.from_pretrained(folder)("bake lomi", return_tensors="pt")
    logits = [AutoModelForMaskedLM.from_pretrained(each)(**ids).logits for each in (folder, reference)]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-3)


def assert_same(folder: Path, other: Path, key: str, tolerance: float = 1e-5) -> None:
    assert history(folder, key) == pytest.approx(history(other, key), rel=tolerance), key


def test_zero_3_trains_and_validates_as_plain_python_does(one_rank: dict[Run, Path]) -> None:
    for key in ("loss", *TERMS):
        assert_same(one_rank[VOCABULARY, "zero3"], one_rank[VOCABULARY, None], key)


def test_two_ranks_mask_the_same_tokens_as_one(one_rank: dict[Run, Path], two_ranks: dict[Run, Path]) -> None:
    for key in TERMS:
        ours, theirs = history(two_ranks[VOCABULARY, "zero3"], key), history(one_rank[VOCABULARY, None], key)
        if key.startswith("eval"):
            assert ours[0] == pytest.approx(theirs[0], rel=1e-5), key
        # the mean of two ranks' means is not the mean over all masked positions
        assert ours == pytest.approx(theirs, rel=0.15), key


@pytest.mark.slow
def test_zero_3_on_two_ranks_trains_as_ddp_does(material: Path, two_ranks: dict[Run, Path]) -> None:
    (folder,) = run_all(material, [(VOCABULARY, None)], 2).values()
    for key in ("loss", *TERMS):
        assert_same(two_ranks[VOCABULARY, "zero3"], folder, key)


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
