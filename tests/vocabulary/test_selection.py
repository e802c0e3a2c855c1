"""Test which tokens are kept."""

from __future__ import annotations

from collections.abc import Iterable

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.vocabulary import count_tokens, select_ids, trim_tokenizer
from bistil_ds.vocabulary.pieces import Pieces, read_pieces


def counts_of(tokenizer: PreTrainedTokenizerBase, by_id: dict[int, int]) -> np.ndarray:
    counts = np.zeros(len(tokenizer), np.int64)
    for i, count in by_id.items():
        counts[i] = count
    return counts


def with_parts(pieces: Pieces, ids: Iterable[int]) -> set[int]:
    return {part for i in ids for part in (i, *pieces.parts(i))}


def test_counts_are_those_of_the_tokenizer_without_special_tokens(tokenizer, corpora):
    counts = count_tokens(corpora["tr"], tokenizer, progress=False)
    expected = counts_of(tokenizer, {})
    for text in corpora["tr"]["text"]:
        for i in tokenizer(text, add_special_tokens=False)["input_ids"]:
            expected[i] += 1
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


def test_counting_ignores_special_tokens_and_the_tokenizers_truncation(tokenizer):
    text = f"the dog {tokenizer.mask_token} ☃ the dog"
    texts = datasets.Dataset.from_dict({"text": [text], "other": [1]})
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(4, stride=1, strategy="only_first", direction="left")
    backend.enable_padding(direction="left", pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token, length=9)
    settings = backend.truncation, backend.padding
    try:
        counts = count_tokens(texts, tokenizer, progress=False)
        assert (backend.truncation, backend.padding) == settings
    finally:
        backend.no_truncation()
        backend.no_padding()
    assert counts[tokenizer.all_special_ids].sum() == 0
    the_dog = tokenizer("the dog", add_special_tokens=False)["input_ids"]
    assert all(counts[i] >= 2 for i in the_dog)


def test_the_threshold_is_met_in_either_corpus_and_met_exactly_is_met(wordpiece):
    a, b, c, d = 200, 210, 220, 230
    source = counts_of(wordpiece, {a: 1, b: 999_999})
    target = counts_of(wordpiece, {c: 2, d: 1_999_999 * 2 - 2})
    kept = set(select_ids({"en": source, "tr": target}, wordpiece, threshold=1e-6).tolist())
    assert {a, b, d} <= kept
    assert c not in kept  # 2 of 4 million is below the threshold
    assert c in select_ids({"en": source, "tr": target}, wordpiece, threshold=5e-7)


def test_wordpiece_keeps_special_tokens_and_both_forms_of_the_characters_of_what_it_keeps(wordpiece, corpora):
    counts = {language: count_tokens(corpora[language], wordpiece, progress=False) for language in ("en", "tr", "ru")}
    share = np.max([part / part.sum() for part in counts.values()], axis=0)
    wanted = set(np.flatnonzero(share >= 1e-3).tolist()) | set(wordpiece.all_special_ids)
    id_of = wordpiece.get_vocab()
    characters = {c for piece in wordpiece.convert_ids_to_tokens(sorted(wanted)) for c in piece.removeprefix("##")}
    fall_backs = {id_of[form] for c in characters for form in (c, f"##{c}") if form in id_of}
    assert set(select_ids(counts, wordpiece, threshold=1e-3).tolist()) == wanted | fall_backs


def test_a_word_of_kept_characters_does_not_become_unknown(wordpiece):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "gate", "tag", "##g", "##e", "g", "t", "##a", "##t", "##x"]
    tokenizer = type(wordpiece)(vocab={piece: i for i, piece in enumerate(pieces)})
    trimmed = trim_tokenizer(tokenizer, select_ids({"en": counts_of(tokenizer, {5: 9})}, tokenizer))
    assert trimmed.tokenize("gate tag") == ["gate", "t", "##a", "##g"]
    assert set(pieces) - set(trimmed.get_vocab()) == {"tag", "##x"}


def test_unigram_keeps_the_lowest_score_and_the_characters_of_what_it_keeps(unigram, corpora):
    counts = {"en": count_tokens(corpora["en"], unigram, progress=False)}
    kept = select_ids(counts, unigram, threshold=1e-2)
    pieces = read_pieces(unigram)
    assert pieces.scores is not None
    assert min(pieces.scores) == min(pieces.scores[i] for i in kept)
    kept_pieces = set(unigram.convert_ids_to_tokens(kept.tolist()))
    needed = {c for piece in kept_pieces for c in piece if c in pieces.id_of}
    assert needed <= kept_pieces
    share = counts["en"] / counts["en"].sum()
    unexplained = {i for i in kept.tolist() if share[i] < 1e-2} - pieces.forced
    assert unexplained <= {pieces.id_of[c] for c in needed}


def test_bpe_keeps_the_pieces_between_and_nothing_else(byte_fallback, corpora):
    counts = {"tr": count_tokens(corpora["tr"], byte_fallback, progress=False)}
    kept = set(select_ids(counts, byte_fallback, threshold=1e-2).tolist())
    pieces = read_pieces(byte_fallback)
    wanted = {i for i in range(len(byte_fallback)) if counts["tr"][i] / counts["tr"].sum() >= 1e-2}
    between = {part for i in wanted | pieces.forced for part in pieces.parts(i)}
    assert kept == wanted | pieces.forced | between
    assert len(between - wanted - pieces.forced) > 30


@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_size_is_hit_exactly_by_the_most_probable(wordpiece, unigram, byte_level, byte_fallback, data):
    tokenizer = data.draw(st.sampled_from([wordpiece, unigram, byte_level, byte_fallback]))
    pieces = read_pieces(tokenizer, keep_padding_id=False)
    size = data.draw(st.integers(len(pieces.forced) + 50, len(tokenizer)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    source, target = rng.geometric(0.2, (2, len(tokenizer)))
    kept = select_ids({"en": source, "tr": target}, tokenizer, vocab_size=size, keep_padding_id=False)
    assert len(kept) == size
    np.testing.assert_array_equal(kept, np.unique(kept))
    assert pieces.forced <= set(kept.tolist())
    assert {part for i in kept.tolist() for part in pieces.parts(i)} <= set(kept.tolist())
    if tokenizer is wordpiece:
        share = np.maximum(source / source.sum(), target / target.sum())
        chosen = set(kept.tolist()) - with_parts(pieces, pieces.forced) - {p for i in kept for p in pieces.parts(i)}
        left = [
            i for i in set(range(len(tokenizer))) - set(kept.tolist()) if set(pieces.parts(i)) <= set(kept.tolist())
        ]
        assert min(share[list(chosen)], default=1) >= max(share[left], default=0)


def test_every_id_up_to_padding_stays(wordpiece):
    pieces = ["the", "dog", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "bird"]
    tokenizer = type(wordpiece)(vocab={piece: i for i, piece in enumerate(pieces)})
    kept = select_ids({"en": counts_of(tokenizer, {8: 5})}, tokenizer)
    assert kept.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]


def test_tokens_below_padding_are_tokens_of_their_language(wordpiece):
    pieces = ["the", "dog", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "bird"]
    tokenizer = type(wordpiece)(vocab={piece: i for i, piece in enumerate(pieces)})
    kept = select_ids({"en": counts_of(tokenizer, {0: 5}), "tr": counts_of(tokenizer, {8: 5})}, tokenizer)
    assert kept.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    with pytest.raises(InputError, match=r"more than the 7 tokens that always stay \(2 as they are below the padding"):
        select_ids({"en": counts_of(tokenizer, {0: 5})}, tokenizer, vocab_size=7)


@pytest.mark.parametrize("size", [{}, {"vocab_size": 6}, {"coverage": 0.5}])
def test_where_the_padding_id_is_the_last_nothing_can_be_dropped_unless_it_may_change(wordpiece, size):
    pieces = ["the", "dog", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "bird", "[PAD]"]
    tokenizer = type(wordpiece)(vocab={piece: i for i, piece in enumerate(pieces)})
    counts = {"en": counts_of(tokenizer, {0: 5, 6: 1})}
    with pytest.raises(InputError, match=r"^no token can be dropped: all are below the padding id .*keep_padding_id"):
        select_ids(counts, tokenizer, **size)
    assert len(select_ids(counts, tokenizer, keep_padding_id=False, **size)) < len(pieces)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.9}, "lower the threshold"),
        ({"threshold": -1.0}, "from 0 to 1"),
        ({"vocab_size": 3}, "always stay"),
        ({"vocab_size": 10**6}, "at most"),
        ({"vocab_size": 150, "coverage": 0.9}, "vocabulary size 150: has no effect beside coverage 0.9"),
        ({"coverage": 0.0}, "above 0 and at most 1"),
        ({"coverage": 1.01}, "above 0 and at most 1"),
    ],
)
def test_arguments_that_leave_nothing_sensible_are_refused_in_one_line(tokenizer, arguments, message):
    pieces = read_pieces(tokenizer)
    free = sorted(set(pieces.id_of.values()) - pieces.forced)
    counts = counts_of(tokenizer, dict.fromkeys(free[100:103], 1))
    with pytest.raises(InputError, match=message) as error:
        select_ids({"en": counts, "tr": counts}, tokenizer, **arguments)
    assert "\n" not in str(error.value)


def test_coverage_keeps_of_each_language_the_fewest_most_frequent_tokens(wordpiece):
    english, turkish = {200: 60, 201: 30, 202: 7, 203: 3}, {210: 50, 211: 25, 212: 25, 200: 900}
    counts = {"en": counts_of(wordpiece, english), "tr": counts_of(wordpiece, turkish)}
    pieces = read_pieces(wordpiece)
    for coverage, expected in (
        (0.9, {200, 201}),
        (0.901, {200, 201, 202, 210}),
        (0.97, {200, 201, 202, 210, 211}),  # 0.975
        (1.0, {*english, *turkish}),
    ):
        kept = select_ids(counts, wordpiece, coverage=coverage)
        assert set(kept.tolist()) == with_parts(pieces, pieces.forced | expected)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(coverage=st.decimals(min_value="0.01", max_value="1", places=3).map(float), seed=st.integers(0, 99))
def test_coverage_is_reached_and_one_token_less_misses_it(wordpiece, coverage, seed):
    pieces = read_pieces(wordpiece)
    parts = {part for i in range(len(wordpiece)) for part in pieces.parts(i)}  # stay for other pieces' sake
    free = [i for i in range(len(wordpiece)) if i not in pieces.forced | parts]
    counts = counts_of(wordpiece, dict(zip(free, np.random.default_rng(seed).geometric(0.02, len(free)).tolist())))
    kept = select_ids({"en": counts}, wordpiece, coverage=coverage)
    ranked = sorted((counts[i] for i in kept if counts[i]), reverse=True)
    assert sum(ranked) >= coverage * counts.sum() - 1e-6 > sum(ranked[:-1]) - 1e-3
    assert min(ranked) >= max([counts[i] for i in free if i not in kept], default=0)


def test_a_size_is_rounded_up_by_the_next_most_frequent_tokens(tokenizer):
    counts = {"en": counts_of(tokenizer, {i: 500 - i for i in range(110, 220)})}
    plain = set(select_ids(counts, tokenizer, coverage=0.5).tolist())
    rounded = select_ids(counts, tokenizer, coverage=0.5, round_to=32)
    assert len(rounded) % 32 == 0
    assert 0 <= len(rounded) - len(plain) < 32
    assert plain <= set(rounded.tolist())
    assert len(select_ids(counts, tokenizer, vocab_size=150, round_to=16)) == 160
    assert len(select_ids(counts, tokenizer, coverage=0.5, round_to=10_000)) == len(tokenizer)  # no token is left


def test_a_language_that_would_keep_nothing_is_named(wordpiece):
    rare = counts_of(wordpiece, dict.fromkeys(range(210, 260), 1))
    with pytest.raises(InputError, match="texts of tr would keep no token") as error:
        select_ids({"en": counts_of(wordpiece, {200: 9}), "tr": rare}, wordpiece, threshold=0.1)
    assert "0.02" in str(error.value)
    assert select_ids({"tr": rare}, wordpiece, threshold=0.02).size


def test_an_empty_corpus_is_named(tokenizer):
    with pytest.raises(InputError, match="texts of tr"):
        select_ids({"en": counts_of(tokenizer, {200: 1}), "tr": counts_of(tokenizer, {})}, tokenizer)
