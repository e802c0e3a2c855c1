"""Test the trimming of BPE vocabularies: which merges stay, and that text is cut as before."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_kinds import bpe_tokenizers
from tokenizers import Tokenizer, models
from transformers import (
    AutoTokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
)

from bistil_ds.errors import InputError
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.vocabulary import select_ids, trim_tokenizer
from bistil_ds.vocabulary.bpe import Routes
from bistil_ds.vocabulary.pieces import read_pieces
from bistil_ds.vocabulary.tokenizer import trimmed_content

LANGUAGES = ("ar", "de", "en", "es", "fi", "fo", "ha", "hi", "ig", "mt", "tr", "vi", "wo", "yo")


def model_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]


def cut_alone(model: dict[str, Any], merges: list[list[str]] | None = None) -> Tokenizer:
    """Return a tokenizer that cuts a string as one word, by merges even where the string is a piece."""
    changed = {**model, "ignore_merges": False, "merges": model["merges"] if merges is None else merges}
    content = json.loads(Tokenizer(models.BPE()).to_str())
    return Tokenizer.from_str(json.dumps({**content, "model": changed}))


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Draw pieces over a, b, c and merges among them in any order, often several to one piece.

    The vocabulary also has an unknown piece and the byte `z`.
    """
    pieces = list("abc")
    merges = []
    for _ in range(draw(st.integers(1, 25))):
        left, right = draw(st.sampled_from(pieces)), draw(st.sampled_from(pieces))
        if len(left + right) <= 6:
            merges.append((left, right))
            pieces += [left + right] if left + right not in pieces else []
    merges = draw(st.permutations(list(dict.fromkeys(merges))))
    pieces += draw(st.lists(st.text("abc", min_size=2, max_size=4), max_size=3))  # no merge need lead to these
    pieces = draw(st.permutations([*dict.fromkeys(pieces), "<unk>", "<0x7A>"]))
    return {piece: i for i, piece in enumerate(pieces)}, merges


SETTINGS = st.fixed_dictionaries(
    {
        "ignore_merges": st.booleans(),
        "unk_token": st.sampled_from([None, "<unk>"]),
        "fuse_unk": st.booleans(),
        "byte_fallback": st.booleans(),
    }
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    vocabulary=vocabularies(),
    bpe_settings=SETTINGS,
    seed=st.integers(0, 10**6),
    texts=st.lists(st.text("aabbccyz", min_size=1, max_size=16), min_size=20, max_size=20),
)
def test_every_text_of_kept_tokens_is_cut_the_same_by_merges_each_of_which_is_needed(
    vocabulary, bpe_settings, seed, texts
):
    vocab, merges = vocabulary
    original = Tokenizer(models.BPE(vocab, merges, **bpe_settings))
    content = json.loads(original.to_str())
    routes = Routes(content["model"])
    rng = random.Random(seed)
    wanted = ["<unk>", "<0x7A>", *(piece for piece in vocab if rng.random() < 0.4)]
    between = {part for piece in wanted for part in routes.pieces_between(piece)}
    kept_ids = sorted(vocab[piece] for piece in {*wanted, *between})
    content = trimmed_content(content, {old: new for new, old in enumerate(kept_ids)})
    trimmed = Tokenizer.from_str(json.dumps(content))
    for text in [*texts, *vocab]:
        old = original.encode(text).ids
        if set(old) <= set(kept_ids):
            assert [kept_ids[new] for new in trimmed.encode(text).ids] == old, text

    model = content["model"]
    whole = cut_alone(model)
    built = [piece for piece in wanted if whole.encode(piece).tokens == [piece]]
    for merge in model["merges"]:
        without = cut_alone(model, [other for other in model["merges"] if other != merge])
        assert any(without.encode(piece).tokens != [piece] for piece in built), merge


@settings(max_examples=100, deadline=None, derandomize=True)
@given(vocabulary=vocabularies())
def test_the_route_of_a_piece_is_what_the_library_applies_to_it_alone(vocabulary):
    vocab, merges = vocabulary
    routes = Routes({"vocab": vocab, "merges": merges})
    whole = Tokenizer(models.BPE(vocab, merges))
    for piece in vocab:
        route = routes.route(piece)
        assert bool(route) == (len(piece) > 1 and whole.encode(piece).tokens == [piece])
        if route:
            alone = Tokenizer(models.BPE(vocab, sorted(set(route), key=merges.index)))
            assert alone.encode(piece).tokens == [piece]
            assert "".join(route[-1]) == piece


def test_of_several_merges_to_one_piece_only_the_one_taken_stays():
    vocab = {piece: i for i, piece in enumerate(["a", "b", "c", "ab", "bc", "abc", "cb"])}
    merges = [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"], ["c", "b"]]
    content = json.loads(Tokenizer(models.BPE(vocab, [tuple(merge) for merge in merges])).to_str())
    content = trimmed_content(content, {vocab[piece]: new for new, piece in enumerate(["a", "b", "c", "bc", "abc"])})
    assert content["model"]["merges"] == [["b", "c"], ["a", "bc"]]


def test_a_piece_that_merges_never_reach_stays_without_merges():
    """Keep `abc` of an `ignore_merges` vocabulary: as a whole word it is cut to itself, in a longer word never."""
    vocab = {piece: i for i, piece in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    original = Tokenizer(models.BPE(vocab, [("a", "b"), ("a", "bc"), ("b", "c")], ignore_merges=True))
    content = json.loads(original.to_str())
    kept = ["a", "b", "c", "abc"]
    content = trimmed_content(content, {vocab[piece]: new for new, piece in enumerate(kept)})
    assert content["model"]["merges"] == []
    assert original.encode("abc").tokens == Tokenizer.from_str(json.dumps(content)).encode("abc").tokens == ["abc"]


def test_a_kept_piece_without_those_it_is_merged_from_is_refused(byte_fallback):
    kept_ids = np.array(sorted(read_pieces(byte_fallback).forced | {byte_fallback.convert_tokens_to_ids("▁the")}))
    with pytest.raises(ValueError, match="merged from must be kept"):
        trim_tokenizer(byte_fallback, kept_ids)


def strings_of(lines: list[str], rng: random.Random) -> list[str]:
    """Return strings that no corpus has: words in another order, characters in any order, spaces, bytes, unknowns."""
    words = [word for line in lines for word in line.split()]
    characters = "".join(lines[::7])
    return [
        *(" ".join(rng.choices(words, k=rng.randint(1, 6))) for _ in range(300)),
        *("".join(rng.choices(words, k=2)) for _ in range(200)),
        *("".join(rng.choices(characters, k=rng.randint(1, 9))) for _ in range(300)),
        *(" " * before + "x" + " " * (before // 2) for before in range(30)),
        *("🙂 𓀀", "\n\n\t x", "<0x0A> <unk><pad>", "▁▁▁ ▁", "a\u0301\x00", ""),
    ]


@pytest.mark.parametrize("kind", ["byte level", "byte level, ignore_merges", "byte fallback"])
def test_real_text_of_14_languages_is_cut_the_same(shared, kind):
    folder = shared / "data" / "text"
    lines = {code: (folder / f"{code}.txt").read_text(encoding="utf-8").splitlines()[:300] for code in LANGUAGES}
    training = [line for code in LANGUAGES for line in lines[code][:100]]
    if kind == "byte fallback":
        tokenizer = bpe_tokenizers.byte_fallback(training, 3000)
    else:
        tokenizer = bpe_tokenizers.byte_level(training, 3000, ignore_merges="ignore_merges" in kind)
    texts = [*strings_of(training, random.Random(0)), *(line for code in LANGUAGES for line in lines[code][250:])]
    old = [tokenizer.backend_tokenizer.encode(text).ids for text in texts]
    forced = read_pieces(tokenizer, keep_padding_id=False).forced
    merges = model_of(tokenizer)["merges"]
    for codes in (("en", "tr"), ("hi",), LANGUAGES):
        counts = np.zeros(len(tokenizer), np.int64)
        for encoding in tokenizer.backend_tokenizer.encode_batch([line for code in codes for line in lines[code]]):
            counts += np.bincount(encoding.ids, minlength=len(counts))
        counts[sorted(forced)] = 0
        kept_ids = select_ids({"+".join(codes): counts}, tokenizer, threshold=2e-5, keep_padding_id=False)
        trimmed = trim_tokenizer(tokenizer, kept_ids, keep_padding_id=False)
        kept, checked = set(kept_ids.tolist()), 0
        for text, ids in zip(texts, old, strict=True):
            if set(ids) <= kept:
                assert kept_ids[trimmed.backend_tokenizer.encode(text).ids].tolist() == ids, text
                checked += 1
        assert checked >= 50 * len(codes)
        assert len(model_of(trimmed)["merges"]) < (1 if kind == "byte fallback" else 1.01) * len(merges)


def test_bytes_always_stay_so_that_any_text_comes_back(byte_level, byte_fallback):
    text = "Ж🙂 ⵣ dog"
    for tokenizer in (byte_level, byte_fallback):
        kept_ids = select_ids({"en": the(tokenizer)}, tokenizer, keep_padding_id=False)
        trimmed = trim_tokenizer(tokenizer, kept_ids, keep_padding_id=False)
        ids = trimmed(text, add_special_tokens=False)["input_ids"]
        assert trimmed.unk_token_id not in ids
        assert trimmed.decode(ids) == text
        assert len(trimmed) < 300


def test_added_tokens_keep_the_merges_by_which_other_text_reaches_them(byte_fallback):
    """Three spaces become ▁▁▁ before BPE, so that the added token ▁▁▁ does not match but is merged."""
    trimmed = trim_tokenizer(byte_fallback, select_ids({"en": the(byte_fallback)}, byte_fallback))
    assert trimmed.tokenize("   ") == byte_fallback.tokenize("   ") == ["▁▁▁"]
    assert trimmed.tokenize("▁▁") == ["▁▁"]


def the(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Return counts of a corpus that consists of the word "the"."""
    counts = np.zeros(len(tokenizer), np.int64)
    counts[tokenizer("the", add_special_tokens=False)["input_ids"]] = 1
    return counts


def test_settings_and_normalisation_are_untouched_and_named_ids_follow(byte_level):
    backend = Tokenizer.from_str(bpe_tokenizers.with_model(byte_level, dropout=0.25).backend_tokenizer.to_str())
    backend.enable_truncation(17)
    backend.enable_padding(pad_id=byte_level.pad_token_id, pad_token="<pad>", pad_to_multiple_of=8)
    before = json.loads(backend.to_str())
    kept_ids = select_ids({"en": the(byte_level)}, byte_level, keep_padding_id=False)
    after = trimmed_content(before, {old: new for new, old in enumerate(kept_ids.tolist())})
    assert before == json.loads(backend.to_str())
    for name in ("version", "truncation", "normalizer", "pre_tokenizer", "decoder"):
        assert after[name] == before[name]
    for name in before["model"].keys() - {"vocab", "merges"}:
        assert after["model"][name] == before["model"][name]
    ids = {token["content"]: token["id"] for token in after["added_tokens"]}
    assert ids["<pad>"] < byte_level.pad_token_id
    assert after["padding"] == {**before["padding"], "pad_id": ids["<pad>"]}
    template = after["post_processor"]["processors"][1]
    assert {name: token["ids"] for name, token in template["special_tokens"].items()} == {
        name: [ids[name]] for name in ("<s>", "</s>")
    }
    backend = Tokenizer.from_str(json.dumps(after))
    assert backend.encode("").ids == [ids["<s>"], ids["</s>"], *[ids["<pad>"]] * 6]


@pytest.mark.parametrize("own_class", [GPT2Tokenizer, RobertaTokenizer, GemmaTokenizer])
def test_classes_that_rebuild_their_backend_take_the_merges_over(own_class, byte_level, byte_fallback, tmp_path):
    base = byte_fallback if own_class is GemmaTokenizer else byte_level
    model = model_of(base)
    merges = [tuple(merge) for merge in model["merges"]]
    names = {role: base.special_tokens_map[role] for role in bpe_tokenizers.ROLES}
    tokenizer = own_class(vocab=model["vocab"], merges=merges, **names)
    texts = [f"{text} dog" for text in ("the", "   the", "kedi", "狗", "☃")]
    ids = [i for text in texts for i in tokenizer(text)["input_ids"]]
    counts = np.bincount(ids, minlength=len(tokenizer))
    kept_ids = select_ids({"en": counts}, tokenizer, keep_padding_id=False)
    trimmed = trim_tokenizer(tokenizer, kept_ids, keep_padding_id=False)
    assert type(trimmed) is own_class
    assert len(trimmed) < 350
    save_tokenizer(trimmed, tmp_path)
    for each in (trimmed, AutoTokenizer.from_pretrained(tmp_path)):
        for text in texts:
            assert kept_ids[each(text)["input_ids"]].tolist() == tokenizer(text)["input_ids"], text


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (models.WordLevel({"a": 0, "b": 1}, unk_token="a"), "WordLevel vocabulary cannot be trimmed"),
        (models.BPE({"a": 0, "b": 1}, [], continuing_subword_prefix="##"), "continuing_subword_prefix '##'"),
        (models.BPE({"a": 0, "b": 1}, [], end_of_word_suffix="</w>"), "end_of_word_suffix '</w>'"),
        (
            models.BPE({"a": 0, "<0x0A>": 1, "<0x0A>a": 2}, [("<0x0A>", "a")], byte_fallback=True),
            "merges '<0x0A>' with other pieces",
        ),
        (models.BPE({"a": 0, "<unk>": 1, "a<unk>": 2}, [("a", "<unk>")], unk_token="<unk>"), "merges '<unk>'"),
    ],
)
def test_what_cannot_be_trimmed_is_refused_in_one_line(model, message):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    with pytest.raises(InputError, match=message) as error:
        select_ids({"en": np.ones(len(tokenizer), np.int64)}, tokenizer)
    assert "\n" not in str(error.value)


def test_settings_that_name_an_id_without_a_token_are_refused(byte_level):
    backend = Tokenizer.from_str(byte_level.backend_tokenizer.to_str())
    backend.enable_padding(pad_id=10**6)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(InputError, match="names the id 1000000"):
        read_pieces(tokenizer)


def test_a_padding_id_that_must_stay_is_held_and_others_may_change(byte_level):
    """Without a model at hand nobody knows how positions are counted, so the id stays unless one says otherwise."""
    assert read_pieces(byte_level).forced == set(range(len(byte_level)))
    kept_ids = select_ids({"en": the(byte_level)}, byte_level, keep_padding_id=False)
    assert len(kept_ids) < 280
    with pytest.raises(ValueError, match="keep_padding_id=False"):
        trim_tokenizer(byte_level, kept_ids)
    trimmed = trim_tokenizer(byte_level, kept_ids, keep_padding_id=False)
    assert trimmed.pad_token_id == trimmed.backend_tokenizer.token_to_id("<pad>") == len(trimmed) - 2
