"""Test that a model whose encoder is not whole is refused by the weight's name, and that other heads get one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from student_models import tiny_teacher
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.loading import load_pretrained

CLASSES = (AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification)
WEIGHT = "encoder.layer.1.output.dense.bias"


@pytest.fixture(params=["bert", "xlm-roberta"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a masked language model of two layers."""
    tiny_teacher(request.param, layers=2).save_pretrained(tmp_path / "whole")
    return tmp_path / "whole"


def changed(folder: Path, change: Callable[[dict[str, Tensor], str], None]) -> None:
    """Rewrite a folder's weights; `change` gets them, and the full name of `WEIGHT`."""
    weights = load_file(folder / "model.safetensors")
    change(weights, next(name for name in weights if name.endswith(WEIGHT)))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def bare(folder: Path) -> Path:
    """Save the encoder of a masked language model alone, beside it."""
    AutoModelForMaskedLM.from_pretrained(folder).base_model.save_pretrained(folder.parent / "bare")
    return folder.parent / "bare"


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("alone", [False, True])
def test_a_missing_weight_of_the_encoder_is_named(whole: Path, kind: type, alone: bool) -> None:
    folder = bare(whole) if alone else whole

    def without(weights: dict[str, Tensor], name: str) -> None:
        del weights[name]

    changed(folder, without)
    with pytest.raises(InputError, match=rf"^--model .*: lacks the encoder's weight .*{WEIGHT}; ") as error:
        load_pretrained(kind, folder, flag="--model")
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("alone", [False, True])
def test_a_weight_that_the_encoder_has_no_place_for_is_named(whole: Path, kind: type, alone: bool) -> None:
    folder = bare(whole) if alone else whole

    def a_third_layer(weights: dict[str, Tensor], name: str) -> None:
        for old in [old for old in weights if ".layer.1." in f".{old}"]:
            weights[old.replace("layer.1.", "layer.2.")] = weights[old].clone()

    changed(folder, a_third_layer)
    with pytest.raises(InputError, match=r"holds the weight .*layer\.2\.attention.* \(and 15 more\) that an encoder"):
        load_pretrained(kind, folder)


def test_a_weight_of_another_shape_is_named_with_both_shapes(whole: Path) -> None:
    changed(whole, lambda weights, name: weights.update({name: torch.zeros(7)}))
    with pytest.raises(InputError, match=rf"{WEIGHT} of shape \(7,\), not \(32,\), in another shape"):
        load_pretrained(AutoModelForTokenClassification, whole)


def test_what_old_checkpoints_hold_besides_is_no_error(whole: Path) -> None:
    def as_of_old(weights: dict[str, Tensor], name: str) -> None:
        prefix = name.removesuffix(WEIGHT)
        weights[f"{prefix}embeddings.position_ids"] = torch.arange(8)[None]
        weights[f"{prefix}pooler.dense.bias"] = torch.zeros(32)
        for old in [old for old in weights if old.endswith("LayerNorm.weight")]:
            weights[old.replace("LayerNorm.weight", "LayerNorm.gamma")] = weights.pop(old)

    changed(whole, as_of_old)
    with pytest.warns(Notice) as said:
        _, absent = load_pretrained(AutoModelForMaskedLM, whole)
    assert [str(one.message) for one in said] == [f"{whole}: its pooler is not used"]
    assert not absent


def test_a_missing_head_gets_one_line(whole: Path) -> None:
    head = "cls" if "bert" in type(AutoModel.from_pretrained(whole)).__name__.lower()[:4] else "lm_head"
    with pytest.warns(Notice) as said:
        _, absent = load_pretrained(AutoModelForTokenClassification, whole, flag="--student")
    assert [str(one.message) for one in said] == [
        f"--student {whole}: has no classifier; its {head} is not used",
    ]
    assert absent == {"classifier.weight", "classifier.bias"}


def test_a_whole_model_gets_none(whole: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_pretrained(AutoModelForMaskedLM, whole)[1] == set()
