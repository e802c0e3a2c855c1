"""Test models with BPE vocabularies: the same bits from fewer rows, also where the padding token gets another id."""

from __future__ import annotations

import copy

import pytest
import torch
from tokenizer_kinds import bpe_tokenizers
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    EuroBertConfig,
    EuroBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bistil_ds.errors import InputError
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.vocabulary import trim_model, trim_vocabulary

SPARE_ROWS = 11
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}


def make_model(kind: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return a small model whose configuration names the special ids of `tokenizer`, with `SPARE_ROWS` more rows."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos", "cls", "sep")}
    common = {**SIZES, **ids, "vocab_size": len(tokenizer) + SPARE_ROWS}
    torch.manual_seed(0)
    if kind == "modernbert":
        model: PreTrainedModel = ModernBertForMaskedLM(ModernBertConfig(**common, global_attn_every_n_layers=3))
    elif kind == "eurobert":
        common["eos_token_id"] = [tokenizer.eos_token_id, tokenizer.mask_token_id, len(tokenizer) + 1]
        model = EuroBertForMaskedLM(
            EuroBertConfig(**common, num_key_value_heads=1, mask_token_id=tokenizer.mask_token_id)
        )
    else:
        model = RobertaForMaskedLM(RobertaConfig(**common, max_position_embeddings=1000))
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "pieces"), [("modernbert", "byte_level"), ("modernbert", "byte_fallback"), ("eurobert", "ignore_merges")]
)
def test_the_same_bits_come_from_fewer_rows_and_special_ids_follow(
    request, corpora, sentences, byte_level, tmp_path, kind, pieces
):
    if pieces == "ignore_merges":
        tokenizer = bpe_tokenizers.with_model(byte_level, ignore_merges=True)
    else:
        tokenizer = request.getfixturevalue(pieces)
    teacher = make_model(kind, tokenizer)
    original = copy.deepcopy(teacher)
    texts = {code: corpora[code] for code in ("en", "tr")}
    trimmed = trim_vocabulary(teacher, tokenizer, texts, threshold=1e-3, progress=False)
    rows = len(trimmed.tokenizer)
    assert rows == len(trimmed.kept_ids) == teacher.config.vocab_size < 0.9 * len(tokenizer)
    for role in ("pad", "bos", "cls", "sep"):
        assert getattr(teacher.config, f"{role}_token_id") == getattr(trimmed.tokenizer, f"{role}_token_id")
    if kind == "eurobert":
        ends = [trimmed.tokenizer.eos_token_id, trimmed.tokenizer.mask_token_id]
        assert teacher.config.eos_token_id == ends
        assert teacher.config.mask_token_id == trimmed.tokenizer.mask_token_id
    assert teacher.get_input_embeddings().padding_idx == trimmed.tokenizer.pad_token_id

    trimmed.model.save_pretrained(tmp_path)
    save_tokenizer(trimmed.tokenizer, tmp_path)
    loaded, notes = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not notes["missing_keys"]
    assert not notes["mismatched_keys"]
    assert loaded.get_input_embeddings().padding_idx == trimmed.tokenizer.pad_token_id
    batch = [f"{text} {tokenizer.mask_token}" for text in (*sentences["en"][:20], *sentences["tr"][:20])]
    states, logits = outputs(original, tokenizer, batch)
    for model, cutter in ((teacher, trimmed.tokenizer), (loaded.eval(), AutoTokenizer.from_pretrained(tmp_path))):
        new_states, new_logits = outputs(model, cutter, batch)
        assert all(torch.equal(old, new) for old, new in zip(states, new_states, strict=True))
        assert torch.equal(logits[..., trimmed.kept_ids], new_logits)


def outputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    with torch.no_grad():
        out = model(**tokenizer(texts, return_tensors="pt", padding=True), output_hidden_states=True)
    return out.hidden_states, out.logits


def test_a_model_that_numbers_positions_from_padding_keeps_its_padding_id(corpora, byte_fallback, byte_level):
    """RoBERTa's tokenizer is byte-level BPE; where padding comes last, nothing can be dropped."""
    texts = {"en": corpora["en"]}
    roberta = make_model("roberta", byte_fallback)
    assert trim_vocabulary(roberta, byte_fallback, texts, threshold=1e-3, progress=False).tokenizer.pad_token_id == 0
    trimmed = trim_vocabulary(make_model("modernbert", byte_level), byte_level, texts, progress=False)
    with pytest.raises(InputError, match="has pad_token_id"):
        trim_model(make_model("roberta", byte_level), trimmed.kept_ids)


def test_a_padding_token_that_the_texts_do_not_keep_is_refused(corpora, byte_level):
    teacher = make_model("modernbert", byte_level)
    teacher.config.pad_token_id = byte_level.convert_tokens_to_ids("Ġkedi")
    with pytest.raises(InputError, match="pads with another id"):
        trim_vocabulary(teacher, byte_level, {"en": corpora["en"]}, progress=False)
