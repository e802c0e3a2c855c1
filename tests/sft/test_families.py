"""Test sparse fine-tunings (SFTs) on each model family: names, heads, trimmed vocabularies, and the way back."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from student_models import KINDS, VOCABULARY, tiny_teacher
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from bistil_ds.errors import InputError
from bistil_ds.models.parameters import saved_parameters
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.maskable import maskable_parameters
from bistil_ds.tasks.heads import load_classifier
from bistil_ds.vocabulary import trim_model

KEPT = np.array([0, 1, 2, 3, 4, *range(6, VOCABULARY, 3)])
LABELS = ("x", "y", "z")


def state(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def tuned(model: PreTrainedModel) -> tuple[SparseFineTuning, dict[str, Tensor]]:
    """Return an SFT for every fifth entry of each maskable weight and all of the head, and the state it leads to."""
    other = copy.deepcopy(model)
    base = {id(parameter) for parameter in other.base_model.parameters()}
    heads = [name for name, parameter in saved_parameters(other).items() if id(parameter) not in base]
    with torch.no_grad():
        for parameter in maskable_parameters(other).values():
            parameter.view(-1)[::5] += 0.5
        for name in heads:
            other.get_parameter(name).mul_(2).add_(0.25)
    return SparseFineTuning.between(model, other, name="tuned", heads=heads), state(other)


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    tiny_teacher(request.param, layers=2).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
def test_a_task_is_put_on_and_taken_off_to_the_bit(auto: type, folder: Path, tmp_path: Path) -> None:
    sft, after = tuned(load_classifier(auto, folder, LABELS))
    model = load_classifier(auto, folder, LABELS)  # with another new head
    before = state(model)
    sft.save(tmp_path / "sft")
    sft = SparseFineTuning.load(tmp_path / "sft")
    sft.apply(model)
    for name, expected in after.items():
        torch.testing.assert_close(model.state_dict()[name], expected, msg=name)
    assert not any(torch.equal(model.state_dict()[name], before[name]) for name in (*sft.sparse, *sft.dense))
    sft.revert(model)
    assert same(state(model), before)


def test_names_with_and_without_the_encoders_prefix_mean_the_same_weights(folder: Path) -> None:
    """An SFT of a task model fits the encoder alone, and one of the encoder alone fits a task model."""
    alone, task = AutoModel.from_pretrained(folder), load_classifier(AutoModelForTokenClassification, folder, LABELS)
    if getattr(alone, "pooler", None) is not None:
        alone.pooler = None  # at random, as the folder has none
    of_task, of_alone = tuned(task)[0], tuned(alone)[0]
    assert not of_task.sparse.keys() & of_alone.sparse.keys()
    starts = state(alone), state(task.base_model)
    of_task.apply(alone)
    of_alone.apply(task)
    assert same(state(alone), state(task.base_model))
    assert not same(state(alone), starts[0])
    of_task.revert(alone)
    of_alone.revert(task)
    assert same(state(alone), starts[0])
    assert same(state(task.base_model), starts[1])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_trimmed_vocabulary_the_kept_rows_change_alike(kind: str, tied: bool) -> None:
    model = tiny_teacher(kind, layers=1, tie_word_embeddings=tied)
    sft, after = tuned(model)
    restricted = sft.restrict(KEPT, VOCABULARY)
    trim_model(model, KEPT)
    before = state(model)
    restricted.apply(model)
    for name, expected in after.items():
        rows = expected[KEPT] if expected.shape[0] == VOCABULARY else expected
        torch.testing.assert_close(model.state_dict()[name], rows, msg=name)
    restricted.revert(model)
    assert same(state(model), before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_sft_of_an_encoder_alone_can_be_restricted_too(kind: str) -> None:
    model = tiny_teacher(kind, layers=1, auto=AutoModel)
    sft, after = tuned(model)
    trim_model(model, KEPT)
    sft.restrict(KEPT, VOCABULARY).apply(model)
    torch.testing.assert_close(model.get_input_embeddings().weight, after[table(model)][KEPT])


def table(model: PreTrainedModel) -> str:
    embeddings = model.get_input_embeddings().weight
    return next(name for name, parameter in model.named_parameters() if parameter is embeddings)


def test_an_sft_of_another_family_is_refused() -> None:
    sft, _ = tuned(tiny_teacher("modernbert", layers=1, auto=AutoModelForTokenClassification))
    with pytest.raises(InputError, match="this EuroBertForTokenClassification has none; it was made for another model"):
        sft.apply(tiny_teacher("eurobert", layers=1, auto=AutoModelForTokenClassification))
