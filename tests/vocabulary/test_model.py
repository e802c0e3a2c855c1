"""Test that the trimmed model gives the same bits from fewer rows."""

from __future__ import annotations

import copy

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.vocabulary import trim_model, trim_vocabulary

FAMILIES = ["bert", "xlm-r", "distilbert"]


def outputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=256)
    with torch.no_grad():
        out = model(**batch, output_hidden_states=True)
    return out.hidden_states, out.logits


def kept_texts(tokenizer: PreTrainedTokenizerBase, texts: list[str], kept_ids: np.ndarray) -> list[str]:
    kept = set(kept_ids.tolist())
    return [text for text in texts if set(tokenizer(text)["input_ids"]) <= kept]


@pytest.mark.parametrize("spare_rows", [0, 13])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_and_gathered_logits_are_the_same_bits(
    make_teacher, corpora, sentences, family, tied, spare_rows
):
    teacher, tokenizer = make_teacher(family, tied, spare_rows)
    original = copy.deepcopy(teacher)
    trimmed = trim_vocabulary(teacher, tokenizer, {k: corpora[k] for k in ("en", "tr")}, threshold=1e-3, progress=False)
    assert trimmed.model is teacher
    assert teacher.config.vocab_size == len(trimmed.kept_ids) == len(trimmed.tokenizer) < len(tokenizer)
    texts = kept_texts(tokenizer, sentences["en"] + sentences["tr"], trimmed.kept_ids)[:64]
    assert len(texts) == 64
    states_before, logits_before = outputs(original, tokenizer, texts)
    states_after, logits_after = outputs(teacher, trimmed.tokenizer, texts)
    for before, after in zip(states_before, states_after, strict=True):
        assert torch.equal(before, after)
    assert torch.equal(logits_before[..., trimmed.kept_ids], logits_after)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_a_handful_of_positions_differ_by_rounding_only(make_teacher, corpora, family):
    """Allow rounding: below about eight rows, a CPU's matrix product orders its additions by the output's width."""
    teacher, tokenizer = make_teacher(family)
    original = copy.deepcopy(teacher)
    trimmed = trim_vocabulary(teacher, tokenizer, {k: corpora[k] for k in ("en", "tr")}, threshold=1e-3, progress=False)
    states_before, logits_before = outputs(original, tokenizer, ["the"])
    states_after, logits_after = outputs(teacher, trimmed.tokenizer, ["the"])
    assert torch.equal(states_before[-1], states_after[-1])
    gathered = logits_before[..., trimmed.kept_ids]
    assert (gathered - logits_after).abs().max() <= 1e-6 * gathered.abs().max()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_is_gathered_and_ties_stay_as_they_were(make_teacher, family, tied):
    teacher, tokenizer = make_teacher(family, tied, spare_rows=5)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    shared_before = {frozenset(names) for names in aliases(teacher)}
    teacher.get_input_embeddings().weight.requires_grad_(False)
    kept_ids = np.arange(0, len(tokenizer), 3)
    kept_ids = np.union1d(kept_ids, np.arange(110))
    trim_model(teacher, kept_ids)
    after = teacher.state_dict()
    assert before.keys() == after.keys()
    rows = len(tokenizer) + 5
    changed = 0
    for name, value in before.items():
        whole = value.shape[:1] == (rows,)
        changed += whole
        assert torch.equal(value[kept_ids] if whole else value, after[name]), name
    assert changed >= 3  # input embeddings, output layer and its bias
    assert {frozenset(names) for names in aliases(teacher)} == shared_before
    assert teacher.get_input_embeddings().weight.requires_grad is False
    assert teacher.get_output_embeddings().weight.requires_grad is not tied
    assert (
        teacher.get_input_embeddings().num_embeddings == teacher.get_output_embeddings().out_features == len(kept_ids)
    )
    assert teacher.get_input_embeddings().padding_idx == teacher.config.pad_token_id


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_padded_where_no_token_is_left(make_teacher, corpora, family, tied):
    """Where the whole vocabulary stays, a rounded size needs rows without a token, which are never predicted."""
    teacher, tokenizer = make_teacher(family, tied)
    original, rows = copy.deepcopy(teacher), -(-(len(tokenizer) + 1) // 64) * 64
    texts = {"en": corpora["en"]}
    trimmed = trim_vocabulary(teacher, tokenizer, texts, threshold=0.0, round_to=rows, progress=False)
    assert len(trimmed.kept_ids) == len(tokenizer) < rows == teacher.config.vocab_size
    before, after = (outputs(model, tokenizer, ["the dog sees birds"] * 8) for model in (original, teacher))
    assert torch.equal(before[0][-1], after[0][-1])
    assert torch.allclose(before[1], after[1][..., : len(tokenizer)], atol=1e-5)
    assert (after[1].softmax(-1)[..., len(tokenizer) :] == 0).all()


def aliases(model: PreTrainedModel) -> list[list[str]]:
    """Return the names of parameters that are one tensor, in groups."""
    by_id: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        by_id.setdefault(id(parameter), []).append(name)
    return [names for names in by_id.values() if len(names) > 1]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_folder_loads_with_transformers_alone(make_teacher, corpora, sentences, tmp_path, family, tied):
    teacher, tokenizer = make_teacher(family, tied)
    trimmed = trim_vocabulary(teacher, tokenizer, {k: corpora[k] for k in ("en", "ru")}, threshold=1e-3, progress=False)
    trimmed.model.save_pretrained(tmp_path)
    trimmed.tokenizer.save_pretrained(tmp_path)
    loaded, notes = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not notes["missing_keys"]
    assert not notes["mismatched_keys"]
    texts = sentences["ru"][:30]
    expected = outputs(teacher, trimmed.tokenizer, texts)[1]
    assert torch.equal(outputs(loaded.eval(), AutoTokenizer.from_pretrained(tmp_path), texts)[1], expected)


def test_special_token_ids_of_the_config_follow(make_teacher):
    teacher, tokenizer = make_teacher("bert")
    teacher.config.bos_token_id = tokenizer.cls_token_id
    teacher.config.eos_token_id = 7
    trim_model(teacher, np.array([0, *range(100, 200)]))
    assert teacher.config.bos_token_id == 2
    assert teacher.config.eos_token_id is None  # the row of this token was removed
    assert teacher.config.pad_token_id == 0


def test_a_tokenizer_of_another_model_is_refused(make_teacher, corpora, wordpiece):
    teacher, _ = make_teacher("bert")
    trim_model(teacher, np.arange(150))
    with pytest.raises(InputError, match="150 rows"):
        trim_vocabulary(teacher, wordpiece, {k: corpora[k] for k in ("en", "tr")}, progress=False)


def test_a_padding_id_the_tokenizer_does_not_share_is_refused(make_teacher, corpora):
    teacher, tokenizer = make_teacher("bert")
    teacher.config.pad_token_id = 40
    with pytest.raises(InputError, match="pad_token_id 40"):
        trim_vocabulary(teacher, tokenizer, {k: corpora[k] for k in ("en", "tr")}, progress=False)


def test_the_report_tells_what_went_and_what_it_costs(make_teacher, corpora):
    """Trim for English and Turkish corpora, each with one text in a language too rare to keep (Chinese, Russian)."""
    teacher, tokenizer = make_teacher("xlm-r")
    mixed = {
        name: datasets.Dataset.from_dict({"text": [*corpora[name]["text"], corpora[other]["text"][0]]})
        for name, other in (("en", "zh"), ("tr", "ru"))
    }
    report = trim_vocabulary(teacher, tokenizer, mixed, threshold=3e-3, progress=False).report
    assert report.before.vocabulary == len(tokenizer) > report.after.vocabulary
    removed = report.before.vocabulary - report.after.vocabulary
    assert report.before.parameters - report.after.parameters == removed * (
        32 + 1
    )  # tied rows count once, and the bias counts once
    assert report.before.bytes == 4 * report.before.parameters
    for part in report.segmentations.values():
        assert part.texts == 121
        assert part.fertility_after > part.fertility_before > 1
        assert part.unchanged <= 120 / 121
    assert report.segmentations["en"].unknown_after > report.segmentations["en"].unknown_before == 0
    assert report.to_dict()["segmentations"]["en"]["unchanged"] == report.segmentations["en"].unchanged
    assert [len(grid.rows) for grid in report.grids()] == [3, 2]


def test_on_the_real_small_model_real_text_keeps_its_bits(shared):
    folder = shared / "models" / "mini-mmt"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    teacher = AutoModelForMaskedLM.from_pretrained(folder).eval()
    original = copy.deepcopy(teacher)
    lines = {
        language: (shared / "data" / "text" / f"{language}.txt").read_text(encoding="utf-8").splitlines()[:4000]
        for language in ("en", "tr")
    }
    texts = {language: datasets.Dataset.from_dict({"text": part[:3000]}) for language, part in lines.items()}
    trimmed = trim_vocabulary(teacher, tokenizer, texts, threshold=1e-5, progress=False)
    assert len(trimmed.kept_ids) < 10_000
    assert trimmed.tokenizer.mask_token_id == len(trimmed.tokenizer) - 1
    unseen = [text for part in lines.values() for text in part[3000:]]
    same = kept_texts(tokenizer, unseen, trimmed.kept_ids)
    assert len(same) > 1000
    for old, new in zip(tokenizer(same)["input_ids"], trimmed.tokenizer(same)["input_ids"], strict=True):
        assert trimmed.kept_ids[new].tolist() == old
    states_before, logits_before = outputs(original, tokenizer, same[:16])
    states_after, logits_after = outputs(teacher, trimmed.tokenizer, same[:16])
    assert all(torch.equal(before, after) for before, after in zip(states_before, states_after, strict=True))
    assert torch.equal(logits_before[..., trimmed.kept_ids], logits_after)
