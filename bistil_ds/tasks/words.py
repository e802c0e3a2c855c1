"""Align words with subwords: the first subword of a word stands for the word (BiStil, section 3).

Each word is cut into subwords ("pieces") by itself, as if in the middle of a sentence. So its pieces are the same
everywhere. A word may contain spaces, which Universal Dependencies allows. Two kinds of words become the unknown token:
words without any piece (control characters, zero-width spaces), which would be lost, and words that spell a special
token, which could end a sequence early.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenizers import Regex
from tokenizers.pre_tokenizers import BertPreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as InTurn
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError

WITHOUT_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"  # scripts
CHARACTER = Regex(rf"(?=[{WITHOUT_SPACES}])\X\p{{M}}*")  # of these scripts, with its combining marks


class Aligned(NamedTuple):
    """The token ids of a sentence, special tokens included, and the position of each word's first subword.

    `first` has one entry for each word, -1 if the word is beyond the cut.
    """

    input_ids: list[int]
    first: list[int]


class Window(NamedTuple):
    """The token ids of a part of a sentence, and the words that it decides: their predictions are taken from it.

    These words follow each other in the sentence, from word `start` on. `first[i]` is the position in `input_ids` of
    the first subword of word `start` + i.
    """

    input_ids: list[int]
    start: int
    first: list[int]


def align(
    words_of_sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Aligned]:
    """Cut each sentence at `max_length` tokens, special ones included, and align its words.

    A word is beyond the cut if its first subword is. Cutting off only later subwords does no harm.

    Raises:
        InputError: `max_length` leaves no room for a word.
    """
    before, after = _special_tokens(tokenizer)
    room = _room(max_length, before, after)
    aligned = []
    for pieces, starts in _pieces(words_of_sentences, tokenizer):
        first = [len(before) + at if at < room else -1 for at in starts[:-1]]
        aligned.append(Aligned(before + pieces[:room] + after, first))
    return aligned


def windows(
    words_of_sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[list[Window]]:
    """Cut each sentence into windows of at most `max_length` tokens, special ones included, that overlap by about half.

    The window in which a word's first subword is farthest from a cut decides that word. So each window decides a run of
    words, which begins where the run of the window before it ends.

    Raises:
        InputError: `max_length` leaves no room for a word.
    """
    before, after = _special_tokens(tokenizer)
    room = _room(max_length, before, after)
    return [
        [
            Window(
                before + pieces[begin : begin + room] + after,
                word,
                [len(before) + at - begin for at in starts[word:next_word]],
            )
            for begin, word, next_word in _shares(starts, room)
        ]
        for pieces, starts in _pieces(words_of_sentences, tokenizer)
    ]


def _room(max_length: int, before: list[int], after: list[int]) -> int:
    room = max_length - len(before) - len(after)
    if room < 1:
        fewest = max_length - room + 1
        raise InputError(f"--max_length {max_length}: leaves no room for words; expected at least {fewest}")
    return room


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids of the special tokens that the tokenizer puts before and after a sentence."""
    bare, whole = _cut(["a"], tokenizer)[0], _cut(["a"], tokenizer, add_special_tokens=True)[0]
    at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:at], whole[at + len(bare) :]


def _pieces(
    words_of_sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield for each sentence (its pieces, the index of each word's first piece followed by the number of pieces)."""
    distinct = list(dict.fromkeys(word for words in words_of_sentences for word in words))
    unknown = tokenizer.unk_token_id
    special = set(tokenizer.all_special_ids) - {unknown}
    # Byte-level tokenizers distinguish " word" from "word"; the others drop the space.
    cut = _cut([f" {word}" for word in distinct], tokenizer)
    pieces_of = {word: ids if ids and special.isdisjoint(ids) else [unknown] for word, ids in zip(distinct, cut)}
    for words in words_of_sentences:
        pieces: list[int] = []
        starts = [0]
        for word in words:
            pieces += pieces_of[word]
            starts.append(len(pieces))
        yield pieces, starts


def _cut(texts: list[str], tokenizer: PreTrainedTokenizerBase, add_special_tokens: bool = False) -> list[list[int]]:
    if not texts:
        return []
    cut: list[list[int]] = tokenizer(texts, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    return cut


def _shares(starts: list[int], room: int) -> list[tuple[int, int, int]]:
    """Return for each window (its first piece, the first word that it decides, the word after the last one)."""
    words, pieces = len(starts) - 1, starts[-1]
    begins = [0]  # for each window: the word with which it begins
    while pieces - starts[begins[-1]] > room:
        half = starts[begins[-1]] + room // 2
        following = next((w for w in range(begins[-1] + 1, words) if starts[w] >= half), None)
        if following is None:  # the remaining pieces all belong to one long word
            break
        begins.append(following)
    shares, word = [], 0
    for begin, following in zip(begins, [*begins[1:], None]):
        stop = words
        if following is not None:
            # The next window decides the words that are at least as far from its start as from the end of this window.
            end = starts[begin] + room
            later = range(following, words)
            stop = next((w for w in later if starts[w] - starts[following] >= end - starts[w]), words)
        if stop > word:
            shares.append((starts[begin], word, stop))
        word = stop
    return shares


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text: it is cut at spaces, and around each punctuation mark.

    Scripts that put no spaces between words are cut into characters.

    Example:
        >>> words_of("Ankara'da, dün.")
        ('Ankara', "'", 'da', ',', 'dün', '.')
        >>> words_of("我爱NLP。")
        ('我', '爱', 'NLP', '。')
    """
    cut = InTurn([BertPreTokenizer(), Split(CHARACTER, "isolated")])
    return tuple(word for word, _ in cut.pre_tokenize_str(text))
