"""Test that a masked-LM head is trained for an encoder that has none, and that the encoder stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from bistil_ds.commands.pretrain import main
from bistil_ds.models.loading import load_language_model
from bistil_ds.training.speed import encoder_flops

SHAPE = ["--steps", "30", "--batch_size", "8", "--length", "32", "--learning_rate", "3e-2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `text/`, an encoder without a head, and `head/`, which has been trained from both."""
    folder = tmp_path_factory.mktemp("head")
    (folder / "text").mkdir()
    tiny.write_texts(folder / "text", lines=100)
    tiny.write_xlmr(folder / "encoder", "Model", layers=2)
    words = ["--encoder", str(folder / "encoder"), "--input_folder", str(folder / "text"), *SHAPE]
    assert main([*words, "--output_dir", str(folder / "head")]) == 0
    return folder


def test_the_head_learns_and_the_encoder_does_not_change(place: Path) -> None:
    losses = json.loads((place / "head" / "run.json").read_text())["results"]["losses"]
    assert losses[-1] < 0.95 * losses[0]
    before, after = (AutoModel.from_pretrained(place / name).state_dict() for name in ("encoder", "head"))
    for name, weight in before.items():
        assert name.startswith("pooler") or torch.equal(weight, after[name]), name


def test_the_folder_is_a_masked_language_model(place: Path) -> None:
    model = load_language_model(place / "head")
    assert type(model) is type(AutoModelForMaskedLM.from_pretrained(place / "head"))
    assert model.get_output_embeddings() is not None


def test_its_costs_are_those_of_forward_passes(place: Path) -> None:
    results = json.loads((place / "head" / "run.json").read_text())["results"]
    config = AutoModel.from_pretrained(place / "encoder").config
    assert results["tokens"] == 30 * 8 * 32
    assert results["flops"] == results["tokens"] * encoder_flops(config, 32, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--encoder", "{}/head", "--input_folder", "{}/text", *SHAPE], "has a masked-LM head already"),
        (["--encoder", "{}/encoder", *SHAPE], "--input_folder missing"),
        (
            ["--encoder", "{}/encoder", "--input_folder", "{}/text", "--layers", "3"],
            "--layers 3: has no effect: --encoder has",
        ),
        (["--encoder", "{}/encoder", "--input_folder", "{}/text", "--length", "99"], "--length 99: "),
        (["--encoder", "{}/none", "--input_folder", "{}/text", *SHAPE], "--encoder"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    words: list[str], said: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*(word.format(place) for word in words), "--output_dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_rehearsal_times_it_and_leaves_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--encoder", str(place / "encoder"), "--input_folder", str(place / "text"), *SHAPE, "--dry_run"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
    assert "training" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
