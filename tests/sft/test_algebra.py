"""Test that SFTs can be added and subtracted, and that the difference of two models is an SFT."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
from random_sfts import random_diff, random_sft
from transformers import PreTrainedModel, XLMRobertaForMaskedLM

from bistil_ds.errors import InputError
from bistil_ds.sft.fine_tuning import SparseDiff, SparseFineTuning

NAME = "roberta.encoder.layer.0.output.dense.weight"


@pytest.fixture(scope="module")
def model() -> XLMRobertaForMaskedLM:
    return tiny.xlmr(vocab_size=50, layers=1, width=8)


def weights(model: PreTrainedModel, *sfts: SparseFineTuning) -> dict[str, torch.Tensor]:
    changed = copy.deepcopy(model)
    for sft in sfts:
        sft.apply(changed)
    return dict(changed.named_parameters())


def language(model: PreTrainedModel, seed: int, **metadata: Any) -> SparseFineTuning:
    sft = random_sft(model, seed, task="mlm", base_model="mmt", base_hash="a" * 64, **metadata)
    sft.dense.clear()
    return sft


def task(model: PreTrainedModel, **metadata: Any) -> SparseFineTuning:
    known = {"base_model": "mmt", "base_hash": "a" * 64, "task": "ner", "labels": ["O", "B-X"], "density": 0.1}
    return random_sft(model, 7, **{**known, **metadata})


def test_base_plus_language_plus_task_is_what_the_sum_gives(model: XLMRobertaForMaskedLM) -> None:
    one, two = language(model, 1), task(model)
    stepwise, at_once = weights(model, one, two), weights(model, one + two)
    for name, expected in stepwise.items():
        torch.testing.assert_close(at_once[name], expected, rtol=0, atol=1e-6)
    union = set(one.sparse[NAME].indices_K.tolist()) | set(two.sparse[NAME].indices_K.tolist())
    assert (one + two).sparse[NAME].indices_K.tolist() == sorted(union)
    # the two SFTs share some entries
    assert len(union) < len(one.sparse[NAME].indices_K) + len(two.sparse[NAME].indices_K)


def test_a_sum_rounds_once_in_bf16(model: XLMRobertaForMaskedLM) -> None:
    short = copy.deepcopy(model).to(torch.bfloat16)
    one, two = language(model, 1), language(model, 2)
    total = torch.zeros(model.get_parameter(NAME).shape)
    for sft in (one, two):
        total.view(-1)[sft.sparse[NAME].indices_K.long()] += sft.sparse[NAME].values_K
    expected = (short.get_parameter(NAME).float() + total).bfloat16()
    assert torch.equal(weights(short, one + two)[NAME], expected)


def test_subtracting_takes_a_language_out_again(model: XLMRobertaForMaskedLM) -> None:
    one, two = language(model, 1), task(model)
    left = one + two - one
    for name, expected in weights(model, two).items():
        torch.testing.assert_close(weights(model, left)[name], expected, rtol=0, atol=1e-6)
    assert left.metadata["task"] == "ner"
    without_task = one + two - two
    assert not without_task.dense
    assert not {"task", "labels"} & without_task.metadata.keys()


def test_operands_stay_as_they_were(model: XLMRobertaForMaskedLM) -> None:
    one, two = language(model, 1), task(model)
    kept = [(copy.deepcopy(s.sparse), dict(s.dense), dict(s.metadata)) for s in (one, two)]
    _ = one + two, one - two
    for sft, (sparse, dense, metadata) in zip((one, two), kept):
        assert all(torch.equal(sft.sparse[n].values_K, d.values_K) for n, d in sparse.items())
        assert (list(sft.dense), sft.metadata) == (list(dense), metadata)


def test_names_with_and_without_the_base_models_prefix_meet() -> None:
    long, short = "bert.encoder.layer.0.output.dense.weight", "encoder.layer.0.output.dense.weight"
    ones = SparseDiff((2, 2), torch.tensor([0, 3]), torch.ones(2))
    for first, second in ((long, short), (short, long)):
        total = SparseFineTuning("a", {first: ones}) + SparseFineTuning("b", {second: ones})
        assert list(total.sparse) == [first]
        assert total.sparse[first].values_K.tolist() == [2, 2]


def test_two_heads_are_refused_unless_they_are_the_same(model: XLMRobertaForMaskedLM) -> None:
    two, same = task(model), task(model)
    assert (two + same).dense.keys() == two.dense.keys()
    same.dense["lm_head.dense.bias"] = torch.zeros(8)
    for combine in (SparseFineTuning.add, SparseFineTuning.subtract):
        with pytest.raises(InputError, match=r"random 7 and random 7 both bring lm_head\.dense\.bias"):
            combine(two, same)


@pytest.mark.parametrize("combine", [SparseFineTuning.add, SparseFineTuning.subtract])
def test_a_whole_tensor_and_changes_of_its_entries_do_not_add_up(model: XLMRobertaForMaskedLM, combine: Any) -> None:
    whole = SparseFineTuning("whole", {}, {NAME.removeprefix("roberta."): model.get_parameter(NAME).detach()})
    few = SparseFineTuning("few", {NAME: random_diff((8, 16), 3)})
    for one, other in ((whole, few), (few, whole)):
        with pytest.raises(InputError, match=r"SFT whole replaces roberta\..* as a whole, SFT few changes entries"):
            combine(one, other)


def test_sfts_of_two_models_or_two_tasks_do_not_add_up(model: XLMRobertaForMaskedLM) -> None:
    with pytest.raises(InputError, match=r"random 1 was made for mmt \(aaaa.*random 7 for xlmr \(bbbb"):
        language(model, 1).add(task(model, base_model="xlmr", base_hash="b" * 64))
    with pytest.raises(InputError, match="random 7 was made for dp, SFT random 7 for ner"):
        task(model, task="dp").subtract(task(model))
    with pytest.raises(InputError, match=r"\[2, 2\].*\[2, 3\].*two models"):
        SparseFineTuning("a", {"w": random_diff((2, 2), 1)}).add(SparseFineTuning("b", {"w": random_diff((2, 3), 1)}))


def test_the_header_of_a_sum_says_what_both_say(model: XLMRobertaForMaskedLM) -> None:
    one = language(model, 1, languages=["ha"], licence="mit", max_length=512)
    two = task(model, languages=["en"], licence="cc-by-4.0", max_length=256)
    expected = {
        "base_model": "mmt",
        "base_hash": "a" * 64,
        "task": "ner",
        "labels": ["O", "B-X"],
        "max_length": 256,
    }
    assert (one + two).metadata == {**expected, "languages": ["ha", "en"], "licence": "mit AND cc-by-4.0"}
    assert (two + one).metadata == {**expected, "languages": ["en", "ha"], "licence": "cc-by-4.0 AND mit"}
    assert (SparseFineTuning("published", {}) + two).metadata["base_hash"] == "a" * 64


def test_a_sum_lists_the_licences_of_the_parts_of_both(model: XLMRobertaForMaskedLM) -> None:
    one = language(model, 1, licences={"model org/mmt": "unknown", "data ha: ha.txt": "cc0-1.0"})
    two = task(model, licences={"model org/mmt": "mit", "data en: train.txt": "cc-by-nc-4.0"})
    expected = {"model org/mmt": "mit", "data ha: ha.txt": "cc0-1.0", "data en: train.txt": "cc-by-nc-4.0"}
    assert (one + two).metadata["licences"] == expected
    assert (two + one).metadata["licences"] == expected


@pytest.mark.parametrize("made_for", [None, "mlm", "dp"])
def test_an_sft_of_the_task_a_language_or_unknown_is_accepted_for_a_task(made_for: str | None) -> None:
    SparseFineTuning("x", {}, metadata={"task": made_for}).check_task("dp")


def test_an_sft_of_another_task_is_refused_naming_both() -> None:
    with pytest.raises(InputError, match="SFT runs/x was made for ner, asked for dp"):
        SparseFineTuning("runs/x", {}, metadata={"task": "ner"}).check_task("dp")


@pytest.mark.parametrize("metadata", [{"labels": "O"}, {"labels": [1]}, {"density": "0.1"}, {"max_length": True}])
def test_a_header_of_the_wrong_types_is_neither_saved_nor_loaded(tmp_path: Any, metadata: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"SFT x: {next(iter(metadata))} in its header is"):
        SparseFineTuning("x", {}, metadata=metadata).save(tmp_path)


def test_the_difference_of_two_models_leads_from_one_to_the_other(model: XLMRobertaForMaskedLM) -> None:
    before, after = copy.deepcopy(model), copy.deepcopy(model)
    random_sft(model, 3, share=0.05).apply(after)
    sft = SparseFineTuning.between(before, after, name="found", heads=["lm_head.dense.weight"])
    assert list(sft.dense) == ["lm_head.dense.weight"]
    assert len(sft.sparse[NAME].indices_K) == int(0.05 * after.get_parameter(NAME).numel())
    for name, expected in weights(after).items():
        torch.testing.assert_close(weights(before, sft)[name], expected, rtol=0, atol=1e-6)
    assert "lm_head.decoder.weight" not in sft.sparse  # tied to the embeddings, which the SFT holds


def test_a_difference_can_be_taken_at_given_entries_of_state_dicts() -> None:
    before, after = {"w": torch.zeros(2, 3)}, {"w": torch.arange(6.0).view(2, 3), "head": torch.ones(2)}
    sft = SparseFineTuning.between(before, after, name="x", indices={"w": torch.tensor([1, 4])})
    assert (sft.sparse["w"].indices_K.tolist(), sft.sparse["w"].values_K.tolist()) == ([1, 4], [1, 4])
    assert torch.equal(sft.dense["head"], torch.ones(2))
    with pytest.raises(InputError, match=r"w is \[2, 3\] before and \[2, 4\] after"):
        SparseFineTuning.between(before, {"w": torch.zeros(2, 4)}, name="x")
