"""Test sparse training on each model family: every entry that can be chosen can be trained, and no norm can be."""

from __future__ import annotations

import pytest
import torch
from student_models import KINDS, tiny_batches, tiny_teacher
from transformers import AutoModel, AutoModelForTokenClassification

from bistil_ds.models.families import FAMILIES, is_norm
from bistil_ds.sparse.deltas import attach
from bistil_ds.sparse.maskable import maskable_parameters
from bistil_ds.sparse.selection import random_entries


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_that_can_be_chosen_gets_its_gradient(kind: str) -> None:
    """The gradients of a few entries are those of the whole weights."""
    model = tiny_teacher(kind, layers=2, auto=AutoModelForTokenClassification)
    batch = next(tiny_batches(0, 1))
    batch["labels"] = batch["input_ids"] % 2
    model(**batch).loss.backward()
    whole = {name: parameter.grad.flatten() for name, parameter in maskable_parameters(model).items()}
    chosen = {name: torch.arange(0, len(gradient), 3) for name, gradient in whole.items()}
    deltas = attach(model, chosen)
    model(**batch).loss.backward()
    assert deltas.deltas.keys() == whole.keys()
    for name, delta in deltas.deltas.items():
        torch.testing.assert_close(delta.delta_K.grad, whole[name][chosen[name]], msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("auto", [AutoModel, AutoModelForTokenClassification])
def test_all_of_the_base_model_can_be_chosen_but_its_norms_and_what_is_never_called(kind: str, auto: type) -> None:
    model = tiny_teacher(kind, layers=2, auto=auto)
    maskable = {id(parameter) for parameter in maskable_parameters(model).values()}
    for place, module in model.base_model.named_modules():
        for parameter in module.parameters(recurse=False):
            fixed = is_norm(module) or place in FAMILIES[kind].never_called
            assert (id(parameter) in maskable) != fixed, place
    assert sum(map(len, random_entries(model, 100, seed=0).values())) == 100
