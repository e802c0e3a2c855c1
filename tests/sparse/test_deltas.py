"""Test that training K deltas beside frozen weights equals dense training with a mask, to rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import sparse_material as material
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse import attach, random_entries
from bistil_ds.sparse.deltas import SparseDeltas
from bistil_ds.sparse.maskable import maskable_parameters

# The epsilon is large because a key bias has a gradient of 0 but for rounding, which Adam would amplify.
ADAMW = {"lr": 1e-2, "eps": 1e-3, "weight_decay": 0.0}


def dense_masked(
    model: PreTrainedModel, selection: dict[str, Tensor], steps: int, accumulate: int, clip: float, mlm: bool
) -> None:
    """Train in plain PyTorch with dense gradients, those of unselected entries set to 0."""
    weights = maskable_parameters(model)
    for name, parameter in model.base_model.named_parameters(prefix=model.base_model_prefix):
        parameter.requires_grad_(name in weights)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, **ADAMW)
    batches = iter(DataLoader(material.Tags(4 * steps * accumulate, mlm=mlm), 4))
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(accumulate):
            (model(**next(batches)).loss / accumulate).backward()
        for name, parameter in weights.items():
            mask = torch.zeros(parameter.numel())
            mask[selection.get(name, torch.empty(0)).long()] = 1
            if parameter.grad is not None:
                parameter.grad *= mask.view_as(parameter)
        nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()


def with_deltas(
    model: PreTrainedModel, deltas: SparseDeltas, steps: int, accumulate: int, clip: float, mlm: bool
) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, **ADAMW)
    batches = iter(DataLoader(material.Tags(4 * steps * accumulate, mlm=mlm), 4))
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(accumulate):
            (model(**next(batches)).loss / accumulate).backward()
        nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        deltas.write()


@pytest.mark.parametrize("mlm", [False, True], ids=["token classification", "tied masked language model"])
@pytest.mark.parametrize("density", [0.08, 1.0])
def test_deltas_train_as_a_dense_mask_does(base: Path, mlm: bool, density: float) -> None:
    torch.manual_seed(0)
    expected = material.load(base, mlm)
    torch.manual_seed(0)
    model = material.load(base, mlm)
    k = round(density * sum(p.numel() for p in maskable_parameters(model).values()))
    selection = random_entries(model, k, seed=1)
    deltas = attach(model, selection)
    how = {"steps": 8, "accumulate": 2, "clip": 0.5, "mlm": mlm}
    dense_masked(expected, selection, **how)
    with_deltas(model, deltas, **how)
    found = dict(model.named_parameters())
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found[name], parameter, rtol=0, atol=1e-6)


def test_a_tied_weight_has_one_delta_that_gets_the_gradients_of_both_uses(base: Path) -> None:
    model, dense = material.load(base, mlm=True), material.load(base, mlm=True)
    name = "roberta.embeddings.word_embeddings.weight"
    indices = torch.arange(0, material.VOCABULARY * 16, 7)
    deltas = attach(model, {name: indices})
    assert model.lm_head.decoder.weight_delta is model.roberta.embeddings.word_embeddings.weight_delta
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == len(indices)
    batch = next(iter(DataLoader(material.Tags(4, mlm=True), 4)))
    for each in (model, dense):
        each(**batch).loss.backward()
    expected = dense.roberta.embeddings.word_embeddings.weight.grad.flatten()[indices]
    torch.testing.assert_close(deltas.deltas[name].delta_K.grad, expected, rtol=0, atol=1e-6)


def test_no_gradient_or_copy_of_a_whole_weight_outlives_the_backward_pass(base: Path) -> None:
    model = material.load(base)
    selection = random_entries(model, 500, seed=1)
    attach(model, selection)
    model(**next(iter(DataLoader(material.Tags(4), 4)))).loss.backward()
    weights = maskable_parameters(model)
    gradients = [p.grad for n, p in model.named_parameters() if n.endswith("_delta")]
    assert not any(p.grad is not None for p in weights.values())
    assert sum(g.numel() for g in gradients if g is not None) == 500


def test_gradient_checkpointing_changes_nothing(base: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = material.load(base)
        deltas = attach(model, random_entries(model, 700, seed=1))
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()(**next(iter(DataLoader(material.Tags(4), 4)))).loss.backward()
        gradients.append([d.delta_K.grad for d in deltas.deltas.values()])
    assert all(one.equal(other) for one, other in zip(*gradients, strict=True))


def test_under_autocast_the_gradients_are_those_of_dense_training(base: Path) -> None:
    batch = next(iter(DataLoader(material.Tags(4), 4)))
    torch.manual_seed(0)
    dense = material.load(base)
    torch.manual_seed(0)
    model = material.load(base)
    deltas = attach(model, random_entries(model, 3000, seed=1))
    for each in (model, dense):
        with torch.autocast("cpu", torch.bfloat16):
            loss = each(**batch).loss
        loss.backward()
    weights = maskable_parameters(dense)
    for name, delta in deltas.deltas.items():
        expected = weights[name].grad.flatten()[delta.indices_K]
        torch.testing.assert_close(delta.delta_K.grad, expected, rtol=1e-2, atol=1e-4, msg=name)


def test_compiled_the_gradients_are_the_same(base: Path) -> None:
    model = material.load(base)
    deltas = attach(model, random_entries(model, 700, seed=1))
    batch = next(iter(DataLoader(material.Tags(4), 4)))
    gradients = []
    for run in (model, torch.compile(model, backend="aot_eager")):
        model.zero_grad()
        run(**batch).loss.backward()
        gradients.append([d.delta_K.grad.clone() for d in deltas.deltas.values()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_saved_puts_the_trained_weights_back(base: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = material.load(base)
    deltas = attach(model, random_entries(model, 700, seed=1), {"base_model": "tiny"})
    with_deltas(model, deltas, steps=3, accumulate=1, clip=1.0, mlm=False)
    deltas.fine_tuning().save(tmp_path)
    loaded, fresh = SparseFineTuning.load(tmp_path), material.load(base)
    assert loaded.metadata == {"base_model": "tiny"}
    loaded.apply(fresh)
    trained = dict(model.named_parameters())
    assert all(p.equal(trained[n]) for n, p in fresh.named_parameters())
    again = material.load(base)
    attach(again, random_entries(again, 700, seed=1)).load(loaded)
    assert all(p.equal(trained[n]) for n, p in again.named_parameters())


def test_an_sft_of_another_base_or_other_entries_is_not_loaded(base: Path) -> None:
    model, other = material.load(base), material.load(base)
    mine = attach(model, random_entries(model, 700, seed=1), {"base_model": "A", "base_hash": "a" * 64})
    theirs = attach(other, random_entries(other, 700, seed=2), {"base_model": "B", "base_hash": "b" * 64})
    with pytest.raises(InputError, match=r"was made for B .*not for A"):
        mine.load(theirs.fine_tuning())
    theirs.metadata.clear()
    with pytest.raises(InputError, match="not trained here"):
        mine.load(theirs.fine_tuning())


def test_layer_norms_cannot_be_selected(base: Path) -> None:
    model = material.load(base)
    with pytest.raises(InputError, match="LayerNorm"):
        attach(model, {"roberta.embeddings.LayerNorm.weight": torch.tensor([0])})
