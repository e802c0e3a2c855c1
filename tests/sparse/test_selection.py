"""Test the selection: exactly K entries, of the base model without its layer norms, with ties in a fixed order."""

from __future__ import annotations

from pathlib import Path

import pytest
import sparse_material as material
import torch
from transformers import AutoConfig

from bistil_ds.errors import InputError
from bistil_ds.sparse import maskable_count, moved_most, random_entries
from bistil_ds.sparse.maskable import maskable_parameters
from bistil_ds.sparse.selection import read_selection, write_selection


def test_the_base_model_is_maskable_but_for_layer_norms_and_head(base: Path) -> None:
    model = material.load(base)
    inside = set(dict(model.roberta.named_parameters(prefix="roberta")))
    assert set(maskable_parameters(model)) == {name for name in inside if "LayerNorm" not in name}
    assert "roberta.embeddings.word_embeddings.weight" in inside


def test_a_tied_embedding_counts_once(base: Path) -> None:
    assert maskable_parameters(material.load(base, mlm=True)).keys() == maskable_parameters(material.load(base)).keys()


def test_the_count_needs_a_configuration_only(base: Path) -> None:
    pooler = 16 * 16 + 16  # a bare model has a pooler, a token classifier has none
    found = sum(p.numel() for p in maskable_parameters(material.load(base)).values())
    assert maskable_count(AutoConfig.from_pretrained(base)) == found + pooler
    assert maskable_count(material.load(base)) == found


def test_ties_go_to_the_first_name_and_then_the_lowest_index(base: Path, tmp_path: Path) -> None:
    model = material.load(base)
    for parameter in model.parameters():
        parameter.data.zero_()
    model.save_pretrained(tmp_path)
    parameters = maskable_parameters(model)
    names = sorted(parameters)
    for place, sign in ((9, 1), (2, -1), (5, 1)):
        parameters[names[place]].data.view(-1)[[1, 4, 7]] = sign * torch.tensor([0.5, 0.5, 0.25])
    halves = [(names[place], i) for place in (2, 5, 9) for i in (1, 4)]
    quarters = [(names[place], 7) for place in (2, 5, 9)]
    unmoved = [(names[0], i) for i in range(3)]
    for k in range(1, 12):
        found = moved_most(model, tmp_path, k)
        chosen = {(name, i) for name, index in found.items() for i in index.tolist()}
        assert chosen == set([*halves, *quarters, *unmoved][:k])


def test_kept_entries_stay_whatever_moved(base: Path) -> None:
    model = material.load(base)
    name = "roberta.encoder.layer.0.output.dense.weight"
    maskable_parameters(model)[name].data.view(-1)[:50] += 1
    kept = {
        name: torch.tensor([60, 61], dtype=torch.int32),
        "roberta.embeddings.position_embeddings.weight": torch.tensor([3]),
    }
    found = moved_most(model, base, 10, kept)
    assert set(found[name].tolist()) >= {60, 61}
    assert found["roberta.embeddings.position_embeddings.weight"].tolist() == [3]
    assert sum(map(len, found.values())) == 10
    assert len([i for i in found[name] if i < 50]) == 7


def test_weights_that_are_not_finite_are_named_as_such(base: Path) -> None:
    model = material.load(base)
    model.roberta.encoder.layer[0].output.dense.bias.data[0] = float("nan")
    with pytest.raises(InputError, match="weights that are not finite"):
        moved_most(model, base, 10)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 1.0])
def test_random_entries_are_exactly_k_distinct_ones_and_the_seeds(base: Path, share: float) -> None:
    model = material.load(base)
    total = maskable_count(model)
    k = round(share * total)
    found = random_entries(model, k, seed=5)
    assert sum(map(len, found.values())) == k
    parameters = maskable_parameters(model)
    for name, index in found.items():
        assert index.dtype == torch.int32
        assert bool((index[1:] > index[:-1]).all())
        assert index[0] >= 0
        assert index[-1] < parameters[name].numel()
    again = random_entries(material.load(base, mlm=True), k, seed=5)
    assert all(found[name].equal(again[name]) for name in found)


def test_random_entries_favour_no_parameter(base: Path) -> None:
    model = material.load(base)
    sizes = {name: p.numel() for name, p in maskable_parameters(model).items()}
    total, draws, share = sum(sizes.values()), 200, 0.1
    counts = dict.fromkeys(sizes, 0)
    for seed in range(draws):
        for name, index in random_entries(model, round(share * total), seed).items():
            counts[name] += len(index)
    for name, size in sizes.items():
        expected = draws * share * size
        assert abs(counts[name] - expected) < 5 * (expected * (1 - share)) ** 0.5, name


def test_more_than_there_is_cannot_be_chosen(base: Path) -> None:
    model = material.load(base)
    for choose in (lambda k: random_entries(model, k, 0), lambda k: moved_most(model, base, k)):
        with pytest.raises(InputError, match="entries are to be trained, but the base model has"):
            choose(maskable_count(model) + 1)


def test_a_selection_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_selection(tmp_path, {"a": torch.tensor([1, 5], dtype=torch.int32)}, {"k": 2})
    selection, about = read_selection(tmp_path)
    assert selection["a"].tolist() == [1, 5]
    assert about == {"k": 2}
    (tmp_path / "selection.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"selection\.json: not JSON"):
        read_selection(tmp_path)
