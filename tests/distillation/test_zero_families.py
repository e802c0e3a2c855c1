"""Test that ZeRO-3 on two ranks trains a student of each newer family as ZeRO-0 does on one."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from launch import history, several_runs
from safetensors.torch import load_file
from student_models import tiny_teacher
from transformers import AutoModel, AutoTokenizer

from bistil_ds.models.families import FAMILIES
from bistil_ds.models.loading import load_language_model

# Model type → what else its configuration has, so that its own parts matter: windows and groups of keys.
NEWER = {
    "modernbert": {"local_attention": 8},
    "eurobert": {"num_key_value_heads": 2},
    "gte": {},
    "jina_embeddings_v3": {},
    "deberta-v2": {},
}
HEADLESS = "gte without a head"
TEACHERS = (*NEWER, HEADLESS)
RUNS = {1: "zero0", 2: "zero3"}  # ranks → configuration

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 200)
    tokenizer = tiny.unigram_tokenizer()
    for name in TEACHERS:
        kind, auto = (name, {}) if name in NEWER else (name.partition(" ")[0], {"auto": AutoModel})
        tiny_teacher(kind, vocab_size=len(tokenizer), **NEWER[kind], **auto).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def runs(material: Path) -> Path:
    """Return the folder that holds each teacher's runs, `NAME-RANKS`."""
    for ranks, config in RUNS.items():
        words: list[list[object]] = []
        for name in TEACHERS:
            texts = [f"{language}={material / language}.txt" for language in tiny.SYLLABLES]
            flags = [
                "--teacher_model",
                material / name,
                "--text",
                *texts,
                "--max_length",
                32,
                "--max_steps",
                2,
                "--eval_steps",
                1,
            ]
            flags += ["--logging_steps", 1, "--learning_rate", 1e-3, "--per_device_train_batch_size", 4 // ranks]
            words.append([*flags, "--deepspeed", config, "--output_dir", material / f"{name}-{ranks}"])
        several_runs(words, ranks, cache=material / "cache")
    return material


@pytest.mark.parametrize("name", TEACHERS)
def test_two_ranks_at_zero_3_have_the_losses_of_one_at_zero_0(name: str, runs: Path) -> None:
    one, two = (runs / f"{name}-{ranks}" for ranks in RUNS)
    terms = ["hidden", "attention"] if FAMILIES[name.partition(" ")[0]].maps_observable else ["hidden"]
    for key in ("loss", "eval_loss", *(f"eval_{language}_{term}" for language in tiny.SYLLABLES for term in terms)):
        expected = history(one, key)
        assert len(expected) == 2 + key.startswith("eval"), key
        assert history(two, key) == pytest.approx(expected, rel=1e-5), key
    assert history(one, "eval_loss")[-1] < history(one, "eval_loss")[0]
    assert load_file(two / "model.safetensors").keys() == load_file(one / "model.safetensors").keys()
    ids = AutoTokenizer.from_pretrained(one)(["bake lomi", "ken"], padding=True, return_tensors="pt")
    outputs = [load_language_model(folder)(**ids)[0] for folder in (two, one)]
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-3)
