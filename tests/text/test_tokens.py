"""Test that known tokens give the counts and chunks that tokenising again gives, and save a second pass."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from tokenizer_kinds.bpe_tokenizers import byte_fallback, byte_level, with_model
from tokenizer_kinds.other_tokenizers import LINES, every_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bistil_ds.text import know_tokens, pack, tokens
from bistil_ds.vocabulary import count_tokens, encoding, select_ids, trim_tokenizer
from bistil_ds.vocabulary.pieces import read_pieces
from bistil_ds.vocabulary.renumbering import new_ids

KINDS: dict[str, PreTrainedTokenizerBase] = {
    **every_tokenizer(),
    "Llama 3": byte_level(LINES, 500, ignore_merges=True),
    "Gemma": byte_fallback(LINES, 500),
}


def corpus() -> Dataset:
    """Return texts of words in any order, with characters and words that no vocabulary has, and blank ones."""
    draw = random.Random(0)
    words = [word for line in LINES for word in line.split()]
    odd = ["", "  ", None, "☃", "é́", "dog <entity> dog", "a" * 300, "<mask>", "\u3000 x", "x" * 5 + " ☃☃ y"]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(300)]
    return Dataset.from_dict({"text": [*odd, *texts, *odd[::-1], *LINES[:50], "  ☃ " + LINES[0] + "\n" + LINES[1]]})


def trimmed_for(tokenizer: PreTrainedTokenizerBase, texts: Dataset, share: float) -> PreTrainedTokenizerBase:
    """Return a trimmed copy that keeps the tokens which make up a share of the texts, and those that always stay."""
    counts = {"en": count_tokens(texts, tokenizer, progress=False)}
    kept_ids = select_ids(counts, tokenizer, coverage=share, keep_padding_id=False)
    return trim_tokenizer(tokenizer, kept_ids, keep_padding_id=False)


def chunks(texts: Dataset, tokenizer: PreTrainedTokenizerBase, cache: Path, **more: Any) -> list[list[int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BISTIL_CACHE", str(cache))
        found: list[list[int]] = pack(texts, tokenizer, 1, progress=False, **more)["input_ids"][:]
    return found


class Encoded(list[str]):
    """The texts that are tokenised again while packing; takes the place of `encode`."""

    def __call__(self, texts: Sequence[str], backend: Tokenizer) -> list[Any]:
        self += texts
        return encoding.encode(texts, backend)


@pytest.mark.parametrize("share", [0.7, 0.97])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_those_of_a_second_pass_and_only_texts_with_dropped_tokens_have_one(
    kind: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "BATCH_TEXTS", 40)
    tokenizer, texts = KINDS[kind], corpus()
    known = know_tokens(texts, tokenizer, progress=False)
    trimmed = trimmed_for(tokenizer, texts, share)
    again = Encoded()
    monkeypatch.setattr(tokens, "encode", again)
    assert chunks(texts, trimmed, tmp_path / "a", known=known) == chunks(texts, trimmed, tmp_path / "b")

    kept = set(trimmed.get_vocab())
    filled = [text for text in texts["text"] if text and not text.isspace()]
    cut = [set(tokenizer.convert_ids_to_tokens(ids)) for ids in encoding.encode_whole(filled, tokenizer)]
    lost = {tokenizer.unk_token} if "WordPiece" in kind or "BERT" in kind else set()
    expected = [text for text, pieces in zip(filled, cut, strict=True) if pieces - (kept - lost)]
    assert sorted(again) == sorted(expected)
    assert len(expected) < len(filled)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_count_tokens(kind: str) -> None:
    texts, rows = corpus(), read_pieces(KINDS[kind]).rows
    counted = count_tokens(texts, KINDS[kind], progress=False)
    assert know_tokens(texts, KINDS[kind], progress=False).count(rows).tolist() == counted.tolist()
    assert counted.sum() > 1000


def test_tokens_are_cached_by_texts_and_tokenizer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Dataset.from_dict({"text": LINES[:20]})
    first = know_tokens(texts, KINDS["unigram"], progress=False)
    know_tokens(texts, KINDS["byte level"], progress=False)
    know_tokens(texts.select(range(19)), KINDS["unigram"], progress=False)
    assert len(list(cache.glob("tokens-*/*.arrow"))) == 3
    monkeypatch.setattr(tokens, "encode", None)
    assert know_tokens(texts, KINDS["unigram"], progress=False).rows["tokens"][:] == first.rows["tokens"][:]


def test_a_word_that_wordpiece_did_not_know_becomes_known(tmp_path: Path) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "a": 2, "ab": 3, "##bc": 4}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
    texts = Dataset.from_dict({"text": ["abc a", "a"]})
    known = know_tokens(texts, tokenizer, progress=False)
    assert known.rows["tokens"].to_pylist() == [[1, 2], [2]]
    trimmed = trim_tokenizer(tokenizer, np.array([0, 1, 2, 4]))
    found = [i for [i] in chunks(texts, trimmed, tmp_path, known=known)]
    assert trimmed.convert_ids_to_tokens(found) == ["a", "##bc", "a", "a"]


def test_special_ids_that_cannot_be_told_apart_are_not_guessed(tmp_path: Path) -> None:
    """Tokenise again where the probe has no tokens, so that it cannot show which ids stand before and after them."""
    backend = Tokenizer.from_str(KINDS["unigram"].backend_tokenizer.to_str())
    backend.normalizer = normalizers.Sequence([normalizers.Replace("a", ""), normalizers.Strip()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    texts = Dataset.from_dict({"text": LINES[:20]})
    known = know_tokens(texts, tokenizer, progress=False)
    assert known.renumbered(tokens.definition_of(tokenizer), 1) is None
    assert chunks(texts, tokenizer, tmp_path / "a", known=known) == chunks(texts, tokenizer, tmp_path / "b")


def test_tokens_of_another_way_to_cut_words_are_not_used(tmp_path: Path) -> None:
    texts, tokenizer = corpus(), KINDS["Llama 3"]
    trimmed = trimmed_for(tokenizer, texts, 0.9)
    random_cuts = with_model(tokenizer, dropout=0.1)
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(trimmed.backend_tokenizer.to_str()))
    other.backend_tokenizer.normalizer = normalizers.Lowercase()
    before, after, lower, dropping = (tokens.definition_of(each) for each in (tokenizer, trimmed, other, random_cuts))
    assert new_ids(before, after) is not None
    assert new_ids(before, lower) is None
    assert new_ids(dropping, after) is None
    known = know_tokens(texts, tokenizer, progress=False)
    assert chunks(texts, other, tmp_path / "a", known=known) == chunks(texts, other, tmp_path / "b")
