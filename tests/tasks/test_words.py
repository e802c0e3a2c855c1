"""Test that each word stands where its first subword stands, and that no word is lost."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import text_lines, unigram_tokenizer
from tokenizer_kinds.other_tokenizers import byte_level_tokenizer, wordpiece_tokenizer
from transformers import PreTrainedTokenizerFast

from bistil_ds.errors import InputError
from bistil_ds.tasks.words import align, windows, words_of

TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "xlm-r": unigram_tokenizer,
    "bert": wordpiece_tokenizer,
    "roberta": byte_level_tokenizer,
}
SENTENCES = [[*line[:-1].split(), "."] for language in ("aa", "bb") for line in text_lines(language, 40)]


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


@pytest.mark.parametrize("kind", ["xlm-r", "bert"])
def test_words_are_cut_as_the_tokenizer_cuts_sentences_split_into_words(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    sentences = [*SENTENCES, ["two words", "ba  ke", "don't", "x-y.z", "日本"]]
    expected = tokenizer(sentences, is_split_into_words=True)
    for i, (ids, first) in enumerate(align(sentences, tokenizer, 1000)):
        word_ids = expected.word_ids(i)
        assert ids == expected["input_ids"][i]
        assert first == [word_ids.index(w) for w in range(len(sentences[i]))]


def test_a_byte_level_word_is_cut_as_in_the_middle_of_a_sentence() -> None:
    tokenizer = TOKENIZERS["roberta"]()
    for words, (ids, first) in zip(SENTENCES, align(SENTENCES, tokenizer, 1000)):
        whole = tokenizer("".join(f" {word}" for word in words))
        assert ids == whole["input_ids"]
        starts, at = [], 0
        for word in words:
            starts.append(whole.char_to_token(at))
            at += 1 + len(word)
        assert first == starts


@pytest.mark.parametrize("word", ["\u200b", "\u0007", "", " ", "\ufeff", "\u00ad"])
def test_a_word_of_no_piece_still_has_a_place(tokenizer: PreTrainedTokenizerFast, word: str) -> None:
    ((ids, first),) = align([["ba", word, "ke"]], tokenizer, 64)
    ((plain, _),) = align([["ba", "ke"]], tokenizer, 64)
    assert len(ids) > len(plain)
    assert first == sorted(set(first))
    assert len(first) == 3


def test_a_word_of_no_piece_is_the_unknown_token() -> None:
    tokenizer = wordpiece_tokenizer()
    ((ids, first),) = align([["ba", "\u0007", "ke"]], tokenizer, 64)
    assert ids[first[1]] == tokenizer.unk_token_id


def test_a_word_that_spells_a_special_token_is_not_one(tokenizer: PreTrainedTokenizerFast) -> None:
    spelt = [tokenizer.sep_token, f"ba{tokenizer.pad_token}ke", tokenizer.mask_token]
    ((ids, first),) = align([["ba", *spelt]], tokenizer, 64)
    inside = ids[1:-1]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert special.isdisjoint(inside)
    assert len(first) == 4


def test_words_beyond_the_length_have_no_place_and_special_tokens_stay(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = align(SENTENCES, tokenizer, 1000)
    for (ids, first), (all_ids, all_first) in zip(align(SENTENCES, tokenizer, 12), whole):
        assert ids == (all_ids if len(all_ids) <= 12 else [*all_ids[:11], all_ids[-1]])
        assert first == [at if at < min(11, len(all_ids) - 1) else -1 for at in all_first]
    assert any(-1 in first for _, first in align(SENTENCES, tokenizer, 12))


def test_what_earlier_calls_left_switched_on_changes_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    before = align(SENTENCES, tokenizer, 64)
    tokenizer(["ba ke lo"], padding="max_length", truncation=True, max_length=3)
    assert align(SENTENCES, tokenizer, 64) == before


def test_no_sentences_and_no_room(tokenizer: PreTrainedTokenizerFast) -> None:
    assert align([], tokenizer, 64) == []
    assert windows([], tokenizer, 64) == []
    for cut in (align, windows):
        with pytest.raises(InputError, match="--max_length 2: leaves no room for words; expected at least 3"):
            cut([["ba"]], tokenizer, 2)
        assert cut([["ba"]], tokenizer, 3)


def test_a_sentence_that_fits_is_one_window(tokenizer: PreTrainedTokenizerFast) -> None:
    for parts, (ids, first) in zip(windows(SENTENCES, tokenizer, 1000), align(SENTENCES, tokenizer, 1000)):
        assert parts == [(ids, 0, first)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["ba", "keren", "vorlomisu", "tarenbakelovor", "."]), min_size=1, max_size=60), st.data()
)
def test_every_word_is_decided_once_where_it_is_farthest_from_a_cut(words: list[str], data: st.DataObject) -> None:
    tokenizer = TOKENIZER
    length = data.draw(st.integers(3, 40))
    ((whole, places),) = align([words], tokenizer, 10_000)
    (parts,) = windows([words], tokenizer, length)
    assert [w for part in parts for w in range(part.start, part.start + len(part.first))] == list(range(len(words)))
    reach = []  # start and end of each window within `whole`
    for ids, start, first in parts:
        assert len(ids) <= length
        assert ids[0] == whole[0]
        assert ids[-1] == whole[-1]
        begin = places[start] - first[0] + 1
        assert ids[1:-1] == whole[begin : begin + len(ids) - 2]
        assert [whole[places[start + i]] for i in range(len(first))] == [ids[at] for at in first]
        reach.append((begin, begin + len(ids) - 2))
    assert reach[0][0] == 1

    def distance(word: int, window: tuple[int, int]) -> float:
        begin, end = window
        if not begin <= places[word] < end:
            return -1
        left = places[word] - begin if begin > 1 else float("inf")
        right = end - places[word] if end < len(whole) - 1 else float("inf")
        return min(left, right)

    for (_, start, first), window in zip(parts, reach):
        for word in range(start, start + len(first)):
            assert distance(word, window) == max(distance(word, other) for other in reach)


TOKENIZER = unigram_tokenizer()


def test_a_long_sentence_costs_about_twice_its_tokens() -> None:
    draw = random.Random(0)
    words = [draw.choice(["ba", "ke", "lo", "miren"]) for _ in range(1000)]
    ((whole, _),) = align([words], TOKENIZER, 100_000)
    (parts,) = windows([words], TOKENIZER, 64)
    assert sum(len(part.input_ids) for part in parts) < 2.3 * len(whole)


def test_windows_of_real_sentences_cover_every_word(shared) -> None:  # type: ignore[no-untyped-def]
    from transformers import AutoTokenizer

    from bistil_ds.tasks import ReadOptions
    from bistil_ds.tasks.readers import read_upos

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "mini-mmt")
    (file,) = (shared / "data" / "ud" / "UD_Vietnamese-VTB").glob("*test*")  # a treebank with spaces inside words
    sentences = [example.words for example in read_upos(str(file), ReadOptions())]
    assert any(" " in word for words in sentences for word in words)
    for words, parts in zip(sentences, windows(sentences, tokenizer, 24)):
        assert sum(len(part.first) for part in parts) == len(words)


CHARACTERS = {
    "我爱北京天安门。": "我 爱 北 京 天 安 门 。",
    "今日はタワーへ行く": "今 日 は タ ワ ー へ 行 く",
    "か\u3099き": "か\u3099 き",  # a kana and its combining mark
    "葛\U000e0100城": "葛\U000e0100 城",  # a variant of a character
    "น้ำใจ": "น้ำ ใ จ",
    "ພາສາ": "ພ າ ສ າ",
    "ភាសា": "ភា សា",
    "မြန်မာ": "မြ န် မာ",
    "བོད་ཡིག": "བོ ད ་ ཡི ག",
    "iPhone很好,2024年": "iPhone 很 好 , 2024 年",
    "한국어는 좋다.": "한국어는 좋다 .",
    "हिन्दी में": "हिन्दी में",
}


@pytest.mark.parametrize("text", CHARACTERS)
def test_scripts_without_spaces_are_cut_into_characters_with_their_marks(text: str) -> None:
    assert words_of(text) == tuple(CHARACTERS[text].split())
