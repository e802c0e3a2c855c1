"""Test that models of every family are trimmed alike, with tokenizers of every kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    FunnelBaseModel,
    PreTrainedTokenizerFast,
)

from bistil_ds import trim_pretrained
from bistil_ds.errors import InputError
from bistil_ds.models.parameters import save_under_own_names
from bistil_ds.trimming import trim
from bistil_ds.trimming.own_class import own_class
from bistil_ds.vocabulary import load_kept_ids

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
OTHER_NAMES = {
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    "funnel": {"d_model": 32, "block_sizes": [1, 1], "n_head": 2, "d_head": 16, "d_inner": 48},
    "mobilebert": {**SHAPE, "embedding_size": 16},
}
REFUSED = {
    "ibert": "cannot be trimmed (ibert.embeddings.word_embeddings.weight_integer would not have the shape that",
    "mobilebert": "cannot be trimmed (cls.predictions.dense.weight would not have the shape that",
    "funnel": "gives no hidden state for each token of a text (IndexError",
    "xmod": "gives no hidden state for each token of a text (ValueError: Input language unknown",
}
FAMILIES = ("bert", "modernbert", "eurobert", "gte", "jina_embeddings_v3", "deberta-v2", "distilbert")


def write(folder: Path, family: str, tokenizer: PreTrainedTokenizerFast) -> None:
    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "mask")}
    shape = OTHER_NAMES.get(family, {**SHAPE, "num_key_value_heads": 2})
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 80, "initializer_range": 0.3}
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **shape, **sizes, **ids))
    save_under_own_names(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check(base: Path, folder: Path, rows: int) -> None:
    before, after, kept_ids = (
        *(load_file(each / "model.safetensors") for each in (base, folder)),
        load_kept_ids(folder),
    )
    assert len(kept_ids) < rows
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value[kept_ids] if value.shape[0] == rows else value, after[name]), name
    record = json.loads((folder / "trimming.json").read_text())
    assert record["agreement"]["aa"]["compared"] > 5
    assert record["agreement"]["aa"]["largest_difference"] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_masked_language_model_of_any_family(family, texts, place):
    tokenizer = tiny.unigram_tokenizer()
    write(place / "base", family, tokenizer)
    check(place / "base", trim_pretrained("base", {"aa": texts["aa"]}, coverage=0.95, output_dir="out"), len(tokenizer))


@pytest.mark.parametrize("family", REFUSED)
def test_an_encoder_that_cannot_be_trimmed_or_run_on_text_alone_is_refused_before_texts_are_counted(
    family, texts, place, monkeypatch
):
    write(place / "base", family, tiny.unigram_tokenizer())
    monkeypatch.delattr(trim, "count_tokens")
    with pytest.raises(InputError, match=f"^--model .*base: .*{re.escape(REFUSED[family])}"):
        trim_pretrained("base", texts, output_dir="out")
    assert not (place / "out").exists()


def test_one_of_two_bare_encoders_of_a_family_is_found() -> None:
    config = AutoConfig.for_model("funnel", architectures=["FunnelBaseModel"])
    assert own_class(config, "") is FunnelBaseModel


@pytest.mark.parametrize("family", ["modernbert", "eurobert"])
def test_byte_level_bpe_with_special_tokens_at_the_end(family, texts, place):
    """The padding id moves, as these families do not number positions from it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([line for language in texts for line in tiny.text_lines(language, 200)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe)
    tokenizer.add_special_tokens(
        {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
    )
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A $B </s>", ends)
    write(place / "base", family, tokenizer)
    folder = trim_pretrained("base", {"aa": texts["aa"]}, output_dir="out")
    check(place / "base", folder, len(tokenizer))
    trimmed = AutoTokenizer.from_pretrained(folder)
    assert trimmed.pad_token_id < tokenizer.pad_token_id
    assert AutoConfig.from_pretrained(folder).pad_token_id == trimmed.pad_token_id
    kept_ids = load_kept_ids(folder)
    lines = tiny.text_lines("aa", 30)
    assert [kept_ids[ids].tolist() for ids in trimmed(lines)["input_ids"]] == tokenizer(lines)["input_ids"]
