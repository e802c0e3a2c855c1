"""Test how much of a text a vocabulary covers, against counts made by hand."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bistil_ds.vocabulary.coverage import Coverage, measure_coverage


def tokenizer(unk_token: str | None) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token=unk_token, model_max_length=2)


def test_unknown_pieces_and_pieces_a_word_are_counted_over_all_texts() -> None:
    assert measure_coverage(["a b c", "d"], tokenizer("[UNK]")) == Coverage(2, 0.5, 1.0)
    assert measure_coverage(["a b", "a"], tokenizer("[UNK]")) == Coverage(2, 0.0, 1.0)


def test_without_text_or_without_an_unknown_token_nothing_is_unknown() -> None:
    assert measure_coverage([""], tokenizer("[UNK]")) == Coverage(1, 0.0, 0.0)
    assert measure_coverage(["a c"], tokenizer(None)) == Coverage(1, 0.0, 1.0)
