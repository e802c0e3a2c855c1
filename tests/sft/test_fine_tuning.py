"""Test sparse fine-tunings on models: reverting one restores the exact bits."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from random_sfts import CONFIG, DENSE, EMBEDDINGS, random_diff, small_model, small_sft, write_published
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    BertModel,
    XLMRobertaForMaskedLM,
)

from bistil_ds.errors import InputError
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.sft.fine_tuning import SparseDiff, SparseFineTuning


@pytest.fixture
def model() -> BertForMaskedLM:
    return small_model()


@pytest.fixture
def sft() -> SparseFineTuning:
    return small_sft()


def bits(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bits(model: torch.nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_apply_adds_and_revert_restores_every_bit(
    model: BertForMaskedLM, sft: SparseFineTuning, dtype: torch.dtype
) -> None:
    model.to(dtype)
    before = bits(model)
    sft.apply(model)
    changed = model.get_parameter(DENSE).detach()
    expected = before[DENSE].float().clone().view(-1)
    expected[sft.sparse[DENSE].indices_K.long()] += sft.sparse[DENSE].values_K
    assert torch.equal(changed.view(-1), expected.to(dtype))
    sft.revert(model)
    assert same_bits(model, before)


def test_tied_weights_change_once(model: BertForMaskedLM, sft: SparseFineTuning) -> None:
    before = bits(model)[EMBEDDINGS]
    both = {EMBEDDINGS: sft.sparse[EMBEDDINGS], "cls.predictions.decoder.weight": sft.sparse[EMBEDDINGS]}
    SparseFineTuning("both names", both).apply(model)
    moved = (model.get_input_embeddings().weight.detach() - before).view(-1)
    assert torch.allclose(moved[both[EMBEDDINGS].indices_K.long()], both[EMBEDDINGS].values_K, atol=1e-6)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_two_different_changes_of_tied_weights_are_refused(model: BertForMaskedLM) -> None:
    pair = {EMBEDDINGS: random_diff((40, 8), 3), "cls.predictions.decoder.weight": random_diff((40, 8), 4)}
    with pytest.raises(InputError, match="ties them"):
        SparseFineTuning("pair", pair).apply(model)


def test_names_fit_with_and_without_the_base_models_prefix(model: BertForMaskedLM, sft: SparseFineTuning) -> None:
    bare = BertModel(CONFIG).eval()
    bare.load_state_dict(model.bert.state_dict(), strict=False)
    sft.apply(bare)
    short = SparseFineTuning("short", {name.removeprefix("bert."): diff for name, diff in sft.sparse.items()})
    short.apply(model)
    for name, diff in sft.sparse.items():
        assert torch.equal(model.get_parameter(name), bare.get_parameter(name.removeprefix("bert."))), diff


def test_a_head_is_replaced_where_the_model_has_it_and_ignored_elsewhere(
    model: BertForMaskedLM, sft: SparseFineTuning
) -> None:
    tagger = BertForTokenClassification(BertConfig(**{**CONFIG.to_dict(), "num_labels": 3}))
    before = bits(tagger)
    sft.apply(tagger)
    assert torch.equal(tagger.classifier.weight, torch.ones(3, 8))
    sft.revert(tagger)
    assert same_bits(tagger, before)
    sft.apply(model)  # this model has no classifier, which is no error


def test_an_sft_for_another_model_names_itself_the_parameter_and_both_shapes(model: BertForMaskedLM) -> None:
    before = bits(model)
    wide = SparseFineTuning("sfts/wide", {DENSE: random_diff((12, 8), 2), EMBEDDINGS: random_diff((50, 8), 2)})
    with pytest.raises(InputError, match=r"sfts/wide .*word_embeddings\.weight 50×8.* 40×8.*another model"):
        wide.apply(model)
    deep = SparseFineTuning("sfts/deep", {"bert.encoder.layer.9.output.dense.weight": random_diff((8, 12), 2)})
    with pytest.raises(InputError, match=r"sfts/deep .*layer\.9.*another model"):
        deep.apply(model)
    assert same_bits(model, before)


def test_applying_twice_or_reverting_what_is_not_there_is_an_error(
    model: BertForMaskedLM, sft: SparseFineTuning
) -> None:
    with pytest.raises(RuntimeError, match="toy is not applied"):
        sft.revert(model)
    sft.apply(model)
    with pytest.raises(RuntimeError, match="toy is already applied"):
        sft.apply(model)
    with pytest.raises(RuntimeError, match="toy is already applied"):
        sft.swap(model, sft)


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_sfts_come_off_in_any_order(
    model: BertForMaskedLM, sft: SparseFineTuning, order: tuple[int, ...], dtype: torch.dtype
) -> None:
    model.to(dtype)
    before, rest = bits(model), copy.deepcopy(model)
    sfts = [sft, *(SparseFineTuning(f"{seed}", {DENSE: random_diff((12, 8), 50, seed)}) for seed in (2, 3))]
    for each in sfts:
        each.apply(model)
    sfts[order[0]].revert(model)
    for each in sfts:
        if each is not sfts[order[0]]:
            each.apply(rest)
    assert same_bits(model, bits(rest))  # the same bits as without the first SFT
    for index in order[1:]:
        sfts[index].revert(model)
    assert same_bits(model, before)


def test_swapping_leaves_the_bits_of_the_other_sft_alone(model: BertForMaskedLM, sft: SparseFineTuning) -> None:
    other = SparseFineTuning(
        "other", {DENSE: random_diff((12, 8), 50, seed=2)}, {"cls.predictions.bias": torch.ones(40)}
    )
    task = SparseFineTuning("task", {DENSE: random_diff((12, 8), 50, seed=3)})
    before, expected = bits(model), copy.deepcopy(model)
    other.apply(expected)
    task.apply(expected)
    sft.apply(model)
    task.apply(model)
    for _ in range(5):
        sft.swap(model, other)
        assert same_bits(model, bits(expected))
        other.swap(model, sft)
    task.revert(model)
    sft.revert(model)
    assert same_bits(model, before)


def test_a_swap_that_is_refused_changes_nothing(model: BertForMaskedLM, sft: SparseFineTuning) -> None:
    sft.apply(model)
    applied = bits(model)
    with pytest.raises(InputError, match="another model"):
        sft.swap(model, SparseFineTuning("wide", {DENSE: random_diff((12, 9), 5)}))
    assert same_bits(model, applied)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_an_sft_comes_off_a_model_whose_dtype_has_changed_since(
    model: BertForMaskedLM, sft: SparseFineTuning, dtype: torch.dtype
) -> None:
    expected = bits(copy.deepcopy(model).to(dtype))
    sft.apply(model)
    sft.revert(model.to(dtype))
    assert same_bits(model, expected)


def test_a_copy_of_the_model_reverts_on_its_own(model: BertForMaskedLM, sft: SparseFineTuning) -> None:
    before = bits(model)
    sft.apply(model)
    applied = bits(model)
    clone = copy.deepcopy(model)
    sft.revert(clone)
    assert same_bits(clone, before)
    assert same_bits(model, applied)


def test_restriction_commutes_with_trimming(model: BertForMaskedLM, sft: SparseFineTuning) -> None:
    kept = np.array([0, 1, 5, 17, 30, 39])
    sft.dense["cls.predictions.bias"] = torch.arange(40.0)
    small = BertForMaskedLM(BertConfig(**{**CONFIG.to_dict(), "vocab_size": len(kept)})).eval()
    state = bits(model)
    for name in (EMBEDDINGS, "cls.predictions.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"):
        state[name] = state[name][kept]
    small.load_state_dict(state)
    sft.apply(model)
    sft.restrict(kept, base_vocab_size=40).apply(small)
    assert torch.equal(small.get_input_embeddings().weight, model.get_input_embeddings().weight[kept])
    assert torch.equal(small.get_parameter("cls.predictions.bias"), torch.arange(40.0)[kept])
    assert torch.equal(small.get_parameter(DENSE), model.get_parameter(DENSE))


def test_indices_are_64_bit_where_a_parameter_needs_them(tmp_path: Path) -> None:
    rows, width, far = 2_500_000, 1024, 2_400_000
    flat = torch.tensor([5, far * width + 7])
    huge = SparseFineTuning("huge", {EMBEDDINGS: SparseDiff((rows, width), flat, torch.tensor([1.0, 2.0]))})
    assert huge.sparse[EMBEDDINGS].indices_K.dtype == torch.int64
    huge.save(tmp_path / "ours")
    huge.save_published(tmp_path / "published")
    for folder in ("ours", "published"):
        assert SparseFineTuning.load(tmp_path / folder).sparse[EMBEDDINGS].indices_K.tolist() == flat.tolist()
    small = huge.restrict(np.array([0, 3, far]), base_vocab_size=rows).sparse[EMBEDDINGS]
    assert small.indices_K.tolist() == [5, 2 * width + 7]
    assert (small.shape, small.indices_K.dtype) == ((3, width), torch.int32)
    assert (huge + huge).sparse[EMBEDDINGS].indices_K.tolist() == flat.tolist()


def test_restriction_reaches_tied_decoders_and_biases(model: BertForMaskedLM) -> None:
    kept = np.array([1, 4, 9])
    tied, bias = random_diff((40, 8), 60), random_diff((40,), 30, seed=1)
    names = [EMBEDDINGS, "cls.predictions.decoder.weight", "cls.predictions.bias", "cls.predictions.decoder.bias"]
    sft = SparseFineTuning("tied", {names[0]: tied, names[1]: tied, names[2]: bias, names[3]: bias})
    small = BertForMaskedLM(BertConfig(**{**CONFIG.to_dict(), "vocab_size": len(kept)})).eval()
    before = bits(small)
    few = sft.restrict(kept, base_vocab_size=40)
    few.apply(small)  # raises if the two names of one parameter now had different values
    whole_bias = torch.zeros(40)
    whole_bias[bias.indices_K.long()] = bias.values_K
    assert torch.equal(small.get_parameter(names[3]), before[names[3]] + whole_bias[kept])
    assert few.sparse[names[1]].shape == (3, 8)


def test_restriction_refuses_another_vocabulary(sft: SparseFineTuning) -> None:
    with pytest.raises(InputError, match=r"toy: .*word_embeddings\.weight has 40 rows, the untrimmed model 41"):
        sft.restrict(np.array([0, 1]), base_vocab_size=41)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert"])
def test_the_hash_is_the_same_for_model_folder_and_shards(tmp_path: Path, family: str) -> None:
    sizes = {"vocab_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16}
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **sizes, hidden_size=8, intermediate_size=12))
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="1KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    one = hash_weights(tmp_path / "one")
    assert one == hash_weights(tmp_path / "many") == hash_weights(model)
    with torch.no_grad():
        model.get_input_embeddings().weight[0, 0] += 1
    assert hash_weights(model) != one


def test_the_base_is_checked_when_asked(
    tmp_path: Path, model: BertForMaskedLM, sft: SparseFineTuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model.save_pretrained(tmp_path)
    sft.metadata |= {"base_model": "some/mmt", "base_hash": hash_weights(tmp_path)}
    sft.apply(model, check_base=tmp_path)
    sft.revert(model)
    sft.metadata["base_hash"] = "0" * 64
    with pytest.raises(InputError, match=f"some/mmt .*not for {tmp_path}"):
        sft.apply(model, check_base=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        sft.apply(model, check_base=tmp_path / "empty")
    with pytest.raises(InputError, match="no model at no/where: neither a folder here nor a hub id"):
        sft.check_base("no/where")


def test_a_published_sft_goes_on_and_off_a_real_model(tmp_path: Path, shared: Path) -> None:
    mmt = XLMRobertaForMaskedLM.from_pretrained(shared / "models" / "mini-mmt")
    before = bits(mmt)
    names = ["roberta.embeddings.word_embeddings.weight", "roberta.encoder.layer.3.output.dense.weight"]
    differences = {n: torch.randn(before[n].shape) * (torch.rand(before[n].shape) < 0.08) for n in names}
    write_published(tmp_path, differences, {})
    fine_tuning = SparseFineTuning.load(tmp_path)
    fine_tuning.save(tmp_path / "ours")
    SparseFineTuning.load(tmp_path / "ours").apply(mmt)
    for name, difference in differences.items():
        assert torch.equal(mmt.get_parameter(name), before[name] + difference)
    with pytest.raises(RuntimeError):
        fine_tuning.revert(mmt)  # it was the copy in `ours` that was applied
