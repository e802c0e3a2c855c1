"""Test that texts of any length are tokenised as a whole would be, in bounded memory."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest
from datasets import Dataset
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from bistil_ds.benchmarking.corpus.memory_limit import PeakMemory, anonymous_memory
from bistil_ds.errors import InputError
from bistil_ds.vocabulary import count_tokens, encoding
from bistil_ds.vocabulary.encoding import encode, encode_whole, in_order, text_batches, whole_texts


@pytest.fixture(params=["wordpiece", "unigram", "byte_level", "byte_fallback"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return request.getfixturevalue(request.param)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"WINDOW": 900, "OVERLAP": 400, "AGREEING": 12, "BATCH_BYTES": 900, "BATCH_TEXTS": 7}.items():
        monkeypatch.setattr(encoding, name, size)


def long_text(sentences: dict[str, list[str]], seed: int) -> str:
    """Return about 12,000 characters of all scripts, with runs of spaces, unknown characters and line ends."""
    draw = random.Random(seed)
    lines = [draw.choice(draw.choice(list(sentences.values()))) for _ in range(300)]
    return "".join(line + draw.choice([" ", "  ", "", "\u3000", " ☃ ", "é", "\n", " <mask> "]) for line in lines)


class Spy:
    """A tokenizer that records the number of characters that each call gives it."""

    def __init__(self, backend: Tokenizer) -> None:
        self.backend, self.characters = backend, list[int]()

    def encode(self, text: str, add_special_tokens: bool = True) -> Encoding:
        self.characters.append(len(text))
        return self.backend.encode(text, add_special_tokens=add_special_tokens)

    def encode_batch_fast(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[Encoding]:
        self.characters.append(sum(map(len, texts)))
        return self.backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("special", [False, True])
def test_a_long_text_has_the_tokens_of_the_whole(tokenizer, sentences, special):
    for seed in range(4):
        text = long_text(sentences, seed)
        expected = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        assert encode_whole([text, "a dog"], tokenizer, add_special_tokens=special)[0] == expected


@pytest.mark.usefixtures("small_windows")
def test_special_tokens_stand_around_a_text_that_begins_without_a_token(wordpiece):
    text = "\u200b" * 5000 + " the dog sees" * 200
    expected = wordpiece(text, verbose=False)["input_ids"]
    assert encode_whole([text], wordpiece, add_special_tokens=True)[0] == expected
    assert len(expected) == 602


@pytest.mark.usefixtures("small_windows")
def test_no_call_gives_the_tokenizer_more_than_a_window(tokenizer, sentences):
    texts = [long_text(sentences, 1), *sentences["en"], long_text(sentences, 2), "", *sentences["ru"]]
    spy = Spy(tokenizer.backend_tokenizer)
    found = []
    for batch in text_batches(Dataset.from_dict({"text": texts})):
        assert len(batch) <= 7
        found += map(list, encode(batch.to_pylist(), spy))
    assert max(spy.characters) == 900
    assert found == [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]


@pytest.mark.usefixtures("small_windows")
def test_a_window_grows_over_what_cannot_be_joined_up_to_a_limit(wordpiece, monkeypatch):
    """Join windows beyond a word of 5,000 letters, which is one unknown token."""
    text = "the dog sees " * 60 + "x" * 5000 + " the cat sleeping" * 60
    expected = wordpiece(text, add_special_tokens=False, verbose=False)["input_ids"]
    spy = Spy(wordpiece.backend_tokenizer)
    assert list(encode([text], spy)[0]) == expected
    assert 5000 < max(spy.characters) < 8000
    monkeypatch.setattr(encoding, "LONGEST_WINDOW", 3000)
    with pytest.raises(InputError, match=r"a text of 6,800 characters .* break it into several texts") as error:
        encode([text], wordpiece.backend_tokenizer)
    assert "\n" not in str(error.value)


def test_batches_are_bounded_in_texts_and_bytes_and_hold_every_text_once(monkeypatch):
    monkeypatch.setattr(encoding, "BATCH_TEXTS", 5)
    monkeypatch.setattr(encoding, "BATCH_BYTES", 10)
    texts = ["a", None, "bb", "ééééé", "c" * 30, "d", "", "e" * 9, "f", "g", "h"]
    for rows in (Dataset.from_dict({"text": texts}), Dataset.from_dict({"text": [*texts, "no"]}).select(range(11))):
        batches = [batch.to_pylist() for batch in text_batches(rows)]
        assert [text for batch in batches for text in batch] == texts
        sizes = [[len((text or "").encode()) for text in batch] for batch in batches]
        assert all(len(batch) <= 5 and (sum(batch) <= 10 or len(batch) == 1) for batch in sizes)


def test_a_missing_text_has_no_tokens(unigram):
    some, all_there = (Dataset.from_dict({"text": ["the dog", *more, "the cat"]}) for more in ([None], []))
    counts = [count_tokens(texts, unigram, progress=False).tolist() for texts in (some, all_there)]
    assert counts[0] == counts[1]


def test_the_type_of_a_column_of_strings_does_not_matter(unigram):
    texts = ["the dog", None, "the cat"]
    counts = [
        count_tokens(Dataset(pa.table({"text": pa.array(texts, kind)})), unigram, progress=False).tolist()
        for kind in (pa.string(), pa.large_string(), pa.string_view())
    ]
    assert counts[0] == counts[1] == counts[2]


def test_results_come_in_order_and_few_of_them_wait():
    begun: list[int] = []
    for number, result in enumerate(in_order(lambda n: begun.append(n) or n, range(100), workers=3)):
        assert result == number
        assert len(begun) <= number + 2 * 3 + 2
    assert len(begun) == 100


def test_truncation_and_padding_come_back(unigram):
    unigram(["a", "the dog"], padding=True, truncation=True, max_length=4)
    backend = unigram.backend_tokenizer
    before = backend.truncation, backend.padding
    with whole_texts(unigram) as inside:
        assert (inside.truncation, inside.padding) == (None, None)
    assert (backend.truncation, backend.padding) == before
    assert before != (None, None)


def test_the_memory_of_a_long_line_is_a_small_multiple_of_its_size(unigram, sentences):
    """Count a line of 3 MB; a tokenizer that is given the whole line takes more than a hundred times its size."""
    text = " ".join(sentences["en"])
    text *= 3_000_000 // len(text)
    texts = Dataset.from_dict({"text": [text]})
    before = anonymous_memory()
    with PeakMemory() as peak:
        count_tokens(texts, unigram, progress=False)
    assert peak.bytes - before < 40 * len(text)
