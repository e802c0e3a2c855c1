"""Load a tokenizer for pretraining, and turn text files into chunks of token ids."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.text.cutting import cut
from bistil_ds.text.text_files import numbered_lines

FLAG = "--input_folder"


def read_lines(path: Path) -> list[str]:
    """Return the stripped lines of a UTF-8 text file.

    Empty lines are returned too, so that line n still means the same in all parallel files.

    Raises:
        InputError: there is no such file or no text in it; a line is not UTF-8, has a NUL or is too long.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    lines = [line.strip() for _, line in numbered_lines(path, FLAG)]
    if not any(lines):
        raise InputError(f"{path}: holds no text")
    return lines


def load_tokenizer_with(tokens: Sequence[str], flag: str, source: str | Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer; raise InputError, naming `flag`, if it lacks one of the special tokens, such as "mask"."""
    tokenizer = load_tokenizer(flag, source)
    if missing := [token for token in tokens if getattr(tokenizer, f"{token}_token_id") is None]:
        raise InputError(f"{flag} {source}: has no {missing[0]} token, which pretraining needs")
    return tokenizer


def chunk(token_ids: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Lay all texts end to end and cut them every `length` tokens into int32 [chunks, length].

    Tokens after the last whole chunk are dropped.
    """
    return np.concatenate([np.empty((0, length), np.int32), *cut(token_ids, length)])


def pair_lines(lines: Mapping[str, list[str]], draw: random.Random) -> list[tuple[str, str]]:
    """Draw two languages for each line number; return that line in both, unless it is empty in one."""
    languages = sorted(lines)
    pairs = []
    for row in zip(*(lines[language] for language in languages)):
        first, second = draw.sample(range(len(languages)), 2)
        if row[first] and row[second]:
            pairs.append((row[first], row[second]))
    return pairs


def chunks_of(language: str, lines: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int) -> np.ndarray:
    """Return the chunks of a language's lines, int32 [chunks, length]; raise InputError if there is not one."""
    return _chunks(f"{language}: has", tokenizer([line for line in lines if line])["input_ids"], length)


def pair_chunks(
    lines: Mapping[str, list[str]], tokenizer: PreTrainedTokenizerBase, length: int, seed: int
) -> np.ndarray:
    """Return the chunks of pairs of parallel lines, int32 [chunks, length]; raise InputError if there is not one."""
    pairs = pair_lines(lines, random.Random(seed))
    ids = tokenizer([one for one, _ in pairs], [other for _, other in pairs])["input_ids"] if pairs else []
    return _chunks("--parallel: lines with text in two languages have", ids, length)


def _chunks(whose: str, token_ids: Sequence[Sequence[int]], length: int) -> np.ndarray:
    found = chunk(token_ids, length)
    if not len(found):
        raise InputError(f"{whose} less text than one chunk of --length {length} tokens")
    return found


class TokenChunks(Dataset[np.ndarray]):
    """Data set of the `size` chunks that a run reads, in order; item i is (i, token ids of the chunk).

    The corpus of each chunk is drawn at random; the probabilities are proportional to `shares`. A corpus is shuffled
    again for each pass over it.
    """

    def __init__(self, corpora: Sequence[np.ndarray], shares: Sequence[float], size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.corpora = corpora
        self.corpus_of = rng.choice(len(corpora), size, p=np.asarray(shares) / sum(shares))
        self.row_of = np.empty(size, dtype=np.int64)
        for i, corpus in enumerate(corpora):
            places = np.flatnonzero(self.corpus_of == i)
            rounds = [rng.permutation(len(corpus)) for _ in range(-(-len(places) // len(corpus)))]
            self.row_of[places] = np.concatenate(rounds)[: len(places)] if rounds else 0

    def __len__(self) -> int:
        return len(self.row_of)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:  # type: ignore[override]
        return index, self.corpora[self.corpus_of[index]][self.row_of[index]]
