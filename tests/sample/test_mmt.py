"""Test the sample's multilingual model, which the package ships, and how a trained one is put there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import write_teacher
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.models.model_card import CardMetadata, read_model_card, write_model_card
from bistil_ds.pretraining.masked_accuracy import masked_accuracy
from bistil_ds.runs.record import RunRecord
from bistil_ds.sample import LANGUAGES, held_out_sentences, sample_mmt
from bistil_ds.sample.cached import SHIPPED
from bistil_ds.sample.mmt import WEIGHTS, unpack
from bistil_ds.sample.pack import pack


def test_the_shipped_model_predicts_masked_tokens_of_its_three_languages() -> None:
    folder = sample_mmt()
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert read_model_card(str(folder)) == CardMetadata("apache-2.0", LANGUAGES)
    recorded = json.loads((folder / "recipe.json").read_text())["results"]["masked_accuracy"]
    for language, lines in held_out_sentences().items():
        accuracy = masked_accuracy(model, tokenizer, lines[:100])["accuracy"]
        assert accuracy == pytest.approx(recorded[language]["accuracy"], abs=0.08)
        assert accuracy > 0.4


def test_it_is_small_and_says_how_it_was_made_without_folders_of_the_machine() -> None:
    assert (SHIPPED / WEIGHTS).stat().st_size < 3.5e6
    text = (SHIPPED / "recipe.json").read_text(encoding="utf-8")
    assert json.loads(text)["command"] == "bistil-pretrain"
    assert "/" not in json.dumps({**json.loads(text), "hardware": None})


def test_a_packed_model_comes_back_with_half_the_bytes_between(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_teacher(run)
    write_model_card(run, ["en"], "apache-2.0")
    arguments = {"steps": 3, "output_dir": str(run)}
    record = RunRecord(run, arguments=arguments, data={"en": {"path": str(run / "en.txt"), "sha256": "ab"}})
    record.update(results={"losses": [1.0]})
    pack(run, tmp_path / "packed")
    (tmp_path / "back").mkdir()
    unpack(tmp_path / "packed", tmp_path / "back")
    before, packed, back = (load_file(tmp_path / name / WEIGHTS) for name in ("run", "packed", "back"))
    assert before.keys() == packed.keys() == back.keys()
    for name, tensor in before.items():
        assert packed[name].dtype == torch.float16
        torch.testing.assert_close(back[name], tensor, rtol=1e-3, atol=1e-6)
    assert str(tmp_path) not in (tmp_path / "packed" / "recipe.json").read_text()
    recipe = json.loads((tmp_path / "back" / "recipe.json").read_text())
    assert (recipe["arguments"], recipe["texts_sha256"]) == ({"steps": 3}, {"en": "ab"})
    AutoModelForMaskedLM.from_pretrained(tmp_path / "back")
    AutoTokenizer.from_pretrained(tmp_path / "back")
