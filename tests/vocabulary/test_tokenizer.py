"""Test the trimmed tokenizer, on random and deliberately awkward vocabularies."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bistil_ds.errors import InputError
from bistil_ds.vocabulary import count_tokens, load_kept_ids, save_kept_ids, select_ids, trim_tokenizer
from bistil_ds.vocabulary.pieces import read_pieces
from bistil_ds.vocabulary.tokenizer import trimmed_content


@pytest.fixture(params=["wordpiece", "unigram", "byte_level", "byte_fallback"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return request.getfixturevalue(request.param)


def test_pieces_that_were_read_serve_several_trims(tokenizer):
    pieces = read_pieces(tokenizer, keep_padding_id=False)
    assert pieces.id_of == tokenizer.get_vocab()
    for ids in (pieces.forced, pieces.id_of.values()):
        kept_ids = np.array(sorted({part for i in ids for part in (i, *pieces.parts(i))}))
        trimmed, alone = (
            trim_tokenizer(tokenizer, kept_ids, keep_padding_id=False, pieces=given) for given in (pieces, None)
        )
        assert trimmed.backend_tokenizer.to_str() == alone.backend_tokenizer.to_str()
        assert len(trimmed.get_vocab()) == len(kept_ids)


def trimmed_for(tokenizer: PreTrainedTokenizerBase, corpora, source: str, target: str, threshold: float = 1e-3):
    counts = {code: count_tokens(corpora[code], tokenizer, progress=False) for code in (source, target)}
    kept_ids = select_ids(counts, tokenizer, threshold=threshold, keep_padding_id=False)
    return trim_tokenizer(tokenizer, kept_ids, keep_padding_id=False), kept_ids


def with_special(tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None = None):
    return tokenizer(texts, pairs)["input_ids"]


def test_ids_map_one_to_one_on_text_whose_pieces_are_kept(tokenizer, corpora, sentences):
    trimmed, kept_ids = trimmed_for(tokenizer, corpora, "en", "tr")
    assert len(kept_ids) < 0.8 * len(tokenizer)
    checked = 0
    for texts in sentences.values():
        for text, old, new in zip(texts, with_special(tokenizer, texts, texts), with_special(trimmed, texts, texts)):
            if set(old) <= set(kept_ids.tolist()):
                assert kept_ids[new].tolist() == old, text
                checked += 1
    assert checked > 150


PIECES = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=14, unique=True)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    pieces=PIECES,
    scores=st.lists(st.sampled_from([-1.0, -1.5, -2.0, -2.5, -7.0, -14.0, -40.0]), min_size=14, max_size=14),
    dropped=st.sets(st.integers(0, 17)),
    unknown_id=st.integers(0, 3),
    texts=st.lists(st.text("abcz", min_size=1, max_size=12), min_size=20, max_size=20),
)
def test_unigram_cuts_the_same_whatever_the_scores_and_ties(pieces, scores, dropped, unknown_id, texts):
    """Draw vocabularies with a, b, c in some only and `z` in none; the unknown piece has one of the first four ids."""
    head = [(f"<{i}>", 0.0) for i in range(4)]
    vocabulary = head + list(zip(pieces, scores))
    lowest = min(range(len(vocabulary)), key=lambda i: vocabulary[i][1])
    kept_ids = [i for i in range(len(vocabulary)) if i not in dropped or i in (lowest, unknown_id)]
    original = Tokenizer(models.Unigram(vocabulary, unk_id=unknown_id))
    content = json.loads(original.to_str())
    content = trimmed_content(content, {old: new for new, old in enumerate(kept_ids)})
    trimmed = Tokenizer.from_str(json.dumps(content))
    for text in texts:
        old = original.encode(text).ids
        if set(old) <= set(kept_ids):
            assert [kept_ids[new] for new in trimmed.encode(text).ids] == old, text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    pieces=PIECES,
    continuing=PIECES,
    dropped=st.sets(st.integers(1, 40)),
    complete=st.booleans(),
    texts=st.lists(st.text("abcz", min_size=1, max_size=8), min_size=20, max_size=20),
)
def test_wordpiece_cuts_the_same_whatever_the_vocabulary(pieces, continuing, dropped, complete, texts):
    """Include unknown words where the vocabulary has every character."""
    alphabet = [*"abc", "##a", "##b", "##c"] if complete else []
    names = list(dict.fromkeys(["[UNK]", *alphabet, *pieces, *(f"##{piece}" for piece in continuing)]))
    kept_ids = [i for i in range(len(names)) if i not in dropped]
    original = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    content = json.loads(original.to_str())
    content = trimmed_content(content, {old: new for new, old in enumerate(kept_ids)})
    trimmed = Tokenizer.from_str(json.dumps(content))
    for text in texts:
        old = original.encode(text).ids
        if set(old) <= set(kept_ids) and (complete or old != [0]):
            assert [kept_ids[new] for new in trimmed.encode(text).ids] == old, text


def test_a_wordpiece_that_led_the_search_astray_may_go_and_the_word_become_known():
    """Test the one exception: after greedy `ab` the rest `##c` is no piece, so the word is unknown until `ab` goes."""
    original = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "ab": 2, "##bc": 3}, unk_token="[UNK]"))
    content = json.loads(original.to_str())
    content = trimmed_content(content, {0: 0, 1: 1, 3: 2})
    assert original.encode("abc").tokens == ["[UNK]"]
    assert Tokenizer.from_str(json.dumps(content)).encode("abc").tokens == ["a", "##bc"]


def test_without_the_lowest_score_unigram_would_cut_differently():
    """Show why that piece stays: an unknown character costs 10 more than the lowest score there is."""
    vocabulary = [("<unk>", 0.0), ("ab", -14.0), ("cd", -14.0), ("bcd", -1.0), ("q", -20.0)]
    with_lowest = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    without = Tokenizer(models.Unigram(vocabulary[:-1], unk_id=0))
    assert with_lowest.encode("abcd").ids == [1, 2]  # -28, against -30 - 1 with an unknown `a` and `bcd`
    assert without.encode("abcd").ids == [0, 3]  # now -24 - 1 with the unknown `a`


def test_ids_are_compacted_in_their_old_order_and_settings_stay(tokenizer, corpora):
    trimmed, kept_ids = trimmed_for(tokenizer, corpora, "en", "ru")
    assert type(trimmed) is type(tokenizer)
    assert len(trimmed) == len(kept_ids)
    assert trimmed.convert_ids_to_tokens(list(range(len(trimmed)))) == tokenizer.convert_ids_to_tokens(
        kept_ids.tolist()
    )
    assert trimmed.pad_token_id == trimmed.convert_tokens_to_ids(tokenizer.pad_token)
    assert trimmed.special_tokens_map == tokenizer.special_tokens_map
    assert trimmed.model_max_length == tokenizer.model_max_length
    assert (trimmed.mask_token_id == len(trimmed) - 1) == (tokenizer.mask_token_id == len(tokenizer) - 1)
    old_mask = tokenizer.added_tokens_decoder[tokenizer.mask_token_id]
    assert trimmed.added_tokens_decoder[trimmed.mask_token_id] == old_mask


def test_it_loads_with_auto_tokenizer_and_nothing_of_ours(tokenizer, corpora, sentences, tmp_path):
    trimmed, _ = trimmed_for(tokenizer, corpora, "en", "ar")
    trimmed.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    texts = [f"{tokenizer.mask_token} {text} ☃" for text in sentences["ar"]]
    assert with_special(loaded, texts, texts) == with_special(trimmed, texts, texts)
    assert loaded.get_vocab() == trimmed.get_vocab()
    assert loaded.mask_token_id == trimmed.mask_token_id


def test_the_original_tokenizer_is_left_alone(tokenizer, corpora, sentences):
    before = tokenizer.backend_tokenizer.to_str()
    trimmed_for(tokenizer, corpora, "en", "zh")
    assert tokenizer.backend_tokenizer.to_str() == before


def test_added_tokens_stay_wherever_they_are(wordpiece, corpora, tmp_path):
    wordpiece.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    in_the_middle = tokenizer.convert_ids_to_tokens(57)
    tokenizer.add_tokens([in_the_middle, "<entity>"])
    assert tokenizer.convert_tokens_to_ids("<entity>") == len(tokenizer) - 1
    trimmed, kept_ids = trimmed_for(tokenizer, corpora, "en", "tr")
    assert {57, len(tokenizer) - 1} <= set(kept_ids.tolist())
    text = f"the <entity> dog {in_the_middle} cat"
    assert kept_ids[trimmed(text)["input_ids"]].tolist() == tokenizer(text)["input_ids"]
    trimmed.save_pretrained(tmp_path / "trimmed")
    assert AutoTokenizer.from_pretrained(tmp_path / "trimmed")(text)["input_ids"] == trimmed(text)["input_ids"]


@pytest.mark.parametrize("kind", ["bert", "roberta", "template", "sequence"])
def test_every_kind_of_post_processor_is_renumbered(kind, corpora):
    words = ["[PAD]", "unseen", "[UNK]", "other", "[CLS]", "more", "[SEP]", "the", "dog"]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    bert, roberta = (
        maker(("[SEP]", 6), ("[CLS]", 4)) for maker in (processors.BertProcessing, processors.RobertaProcessing)
    )
    template = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 6)])
    backend.post_processor = {
        "bert": bert,
        "roberta": roberta,
        "template": template,
        "sequence": processors.Sequence([template]),
    }[kind]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    backend.enable_padding(pad_id=0, pad_token="[PAD]")
    kept_ids = np.array([0, 2, 4, 6, 7, 8])
    trimmed = trim_tokenizer(tokenizer, kept_ids)
    assert trimmed("the dog")["input_ids"] == [2, 4, 5, 3]


def test_what_must_stay_cannot_be_left_out(tokenizer):
    with pytest.raises(ValueError, match=re.escape(tokenizer.mask_token)):
        trim_tokenizer(tokenizer, np.array(sorted(set(tokenizer.all_special_ids) - {tokenizer.mask_token_id})))


def test_a_sentencepiece_file_does_not_bring_the_vocabulary_back(unigram, sentences, tmp_path):
    """Cover the case of XLM-R on the hub: sentencepiece file and tokenizer.json, each with a precompiled normaliser."""
    sentencepiece = pytest.importorskip("sentencepiece")
    texts = [text for language in ("en", "tr", "ru") for text in sentences[language]]
    with open(tmp_path / "sentencepiece.bpe.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=file, vocab_size=250, hard_vocab_limit=False, minloglevel=2
        )
    tokenizer = type(unigram).from_pretrained(tmp_path)
    pieces = read_pieces(tokenizer)
    kept_ids = np.array(sorted(pieces.forced | set(range(4, len(tokenizer), 2))))
    trimmed = trim_tokenizer(tokenizer, kept_ids)
    trimmed.save_pretrained(tmp_path / "trimmed")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "trimmed")
    assert len(loaded) == len(trimmed) == len(kept_ids)
    # The normaliser turns full-width letters and a ligature into plain ones.
    assert loaded.tokenize("ｄｏｇ ﬁne") == loaded.tokenize("dog fine") == trimmed.tokenize("dog fine")


def test_kept_ids_survive_the_disk(tmp_path):
    kept_ids = np.array([0, 1, 5, 9])
    save_kept_ids(tmp_path, kept_ids, base_vocab_size=10)
    loaded = load_kept_ids(tmp_path)
    assert loaded.dtype == np.int64
    np.testing.assert_array_equal(loaded, kept_ids)
    assert json.loads((tmp_path / "kept_ids.json").read_text()) == {"base_vocab_size": 10, "kept_ids": [0, 1, 5, 9]}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "not json",
        "[1, 2]",
        '{"kept_ids": [0, 1]}',
        '{"base_vocab_size": 2, "kept_ids": [0, 2]}',
        '{"base_vocab_size": 9, "kept_ids": [1, 1]}',
        '{"base_vocab_size": 9, "kept_ids": [0.5]}',
        '{"base_vocab_size": 9, "kept_ids": []}',
    ],
)
def test_a_missing_or_broken_file_of_kept_ids_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "kept_ids.json").write_text(content)
    with pytest.raises(InputError, match=r"kept_ids\.json") as error:
        load_kept_ids(tmp_path)
    assert "\n" not in str(error.value)
