"""Tokenise texts of any length and number in bounded memory.

A tokenizer takes some hundred bytes for each character while it works. So texts are tokenised in batches with a bounded
number of bytes, and a long text is tokenised in windows that overlap. Two neighbouring windows are joined at a token
before and after which both have the same tokens at the same places. So the ids are those of the whole text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError

BATCH_TEXTS, BATCH_BYTES = 1000, 1 << 18  # a batch ends before it exceeds one of them; a longer text is a batch
PROBE = "a"  # a text that shows which ids a tokenizer adds to each
WINDOW, OVERLAP = 1 << 18, 1 << 12  # characters
AGREEING = 32  # tokens on either side of a joint that both windows must share
LONGEST_WINDOW = 1 << 24  # characters; a text of which a window would have to be longer is refused

Thing = TypeVar("Thing")
Result = TypeVar("Result")
Ids = npt.NDArray[np.int32]


def text_batches(texts: Dataset) -> Iterator[pa.ChunkedArray]:
    """Yield the column `text` of a data set in batches of at most BATCH_TEXTS texts and BATCH_BYTES bytes, in order.

    The batches of a memory-mapped data set are not read before they are used.
    """
    tables = texts.select_columns("text").with_format("arrow")
    for first in range(0, len(tables), BATCH_TEXTS):
        yield from _cut(tables[first : first + BATCH_TEXTS]["text"].cast(pa.large_string()))  # of a string_view too


def _cut(column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    start = size = 0
    for row, length in enumerate(pc.binary_length(column).to_pylist()):
        if row > start and size + (length or 0) > BATCH_BYTES:
            yield column.slice(start, row - start)
            start, size = row, 0
        size += length or 0
    yield column.slice(start)


def in_order(function: Callable[[Thing], Result], things: Iterable[Thing], workers: int) -> Iterator[Result]:
    """Yield `function(thing)` of each thing, in order, computed ahead by `workers` threads.

    At most 2 · `workers` results wait, so a slow consumer does not let them pile up.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for thing in things:
            waiting.append(pool.submit(function, thing))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # an interrupt must not wait for what has not begun
        pool.shutdown(cancel_futures=True)


@contextmanager
def whole_texts(tokenizer: PreTrainedTokenizerBase) -> Iterator[Tokenizer]:
    """Yield the backend of a fast tokenizer, set to neither cut nor pad; then bring its settings back."""
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        yield backend
    finally:
        if truncation:
            backend.enable_truncation(**truncation)
        if padding:
            backend.enable_padding(**padding)


def encode_whole(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, add_special_tokens: bool = False
) -> list[list[int]]:
    """Return the ids of each text, neither cut nor padded, whatever truncation and padding the tokenizer is set to.

    Raises:
        InputError: from `encode`.
    """
    found: list[list[int]] = []
    with whole_texts(tokenizer) as backend:
        for column in _cut(pa.chunked_array([pa.array(texts, pa.large_string())])):
            found += map(list, encode(column.to_pylist(), backend, add_special_tokens=add_special_tokens))
    return found


def encode(texts: Sequence[str], backend: Tokenizer, *, add_special_tokens: bool = False) -> list[Sequence[int] | Ids]:
    """Return the token ids of each text; those of a text of over WINDOW characters as an array.

    Args:
        texts: those of a batch (see `text_batches`), so that memory stays bounded.
        backend: a tokenizer that neither cuts nor pads.

    Raises:
        InputError: a long text has no place in LONGEST_WINDOW characters where windows could be joined.
    """
    if all(len(text) <= WINDOW for text in texts):
        return [each.ids for each in backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)]
    return list(chain.from_iterable(_encode_one(text, backend, add_special_tokens) for text in texts))


def join(ids: Sequence[Sequence[int] | Ids]) -> Ids:
    """Return the token ids of several texts, laid end to end."""
    if len(ids) == 1:
        return np.asarray(ids[0], np.int32)
    return np.fromiter(chain.from_iterable(ids), np.int32)


def _encode_one(text: str, backend: Tokenizer, add_special_tokens: bool) -> list[Sequence[int] | Ids]:
    if len(text) <= WINDOW:
        return encode([text], backend, add_special_tokens=add_special_tokens)
    ids = np.concatenate(list(_spliced(text, backend)))
    if add_special_tokens:
        before, after = special_ids(PROBE + text.lstrip()[:OVERLAP], backend)  # either may have no token
        ids = np.concatenate([before, ids, after])
    return [ids]


def special_ids(text: str, backend: Tokenizer) -> tuple[Ids, Ids]:
    """Return the ids that a tokenizer adds before and after a text; all of them are before one without tokens."""
    encoding = backend.encode(text)
    ids = np.array(encoding.ids, np.int32)
    inside = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    begin, end = (inside[0], inside[-1] + 1) if len(inside) else (len(ids), len(ids))
    return ids[:begin], ids[end:]


@dataclass(frozen=True)
class _Window:
    """The tokens of the characters [begin, end) of a text: ids, and places of their first and last characters in it."""

    begin: int
    end: int
    ids: Ids
    places: npt.NDArray[np.int64]  # [tokens, 2]

    def token_at(self, place: int) -> int:
        """Return the index of the first token that begins at `place` or later."""
        return int(np.searchsorted(self.places[:, 0], place))

    def around(self, index: int) -> tuple[Any, Any]:
        """Return ids and places of the AGREEING tokens before a token, of it and of those after it."""
        part = slice(max(index - AGREEING, 0), index + AGREEING)
        return self.ids[part], self.places[part]


def _window(text: str, begin: int, end: int, backend: Tokenizer) -> _Window:
    encoding = backend.encode(text[begin:end], add_special_tokens=False)
    places = np.array(encoding.offsets, np.int64).reshape(-1, 2) + begin
    return _Window(begin, min(end, len(text)), np.array(encoding.ids, np.int32), places)


def _spliced(text: str, backend: Tokenizer) -> Iterator[Ids]:
    """Yield the token ids of a long text, part by part."""
    window, start = _window(text, 0, WINDOW, backend), 0
    while window.end < len(text):
        begin = window.end - OVERLAP
        following = _window(text, begin, begin + WINDOW, backend)
        joint = _joint(window, following)
        if joint is not None:
            yield window.ids[window.token_at(start) : window.token_at(joint)]
            window, start = following, joint
            continue
        size = 2 * (window.end - window.begin)
        if size > LONGEST_WINDOW:
            shown = " ".join(text[window.begin : window.begin + 40].split())
            raise InputError(
                f"a text of {len(text):,} characters is too long to tokenise at once, and cannot be cut around "
                f"{shown!r}; break it into several texts"
            )
        window = _window(text, window.begin, window.begin + size, backend)
    yield window.ids[window.token_at(start) :]


def _joint(left: _Window, right: _Window) -> int | None:
    """Return a place in the middle half of the overlap where a token begins, and around which both windows agree."""
    first = left.token_at(right.begin + OVERLAP // 4)
    for index in range(first, left.token_at(right.begin + 3 * OVERLAP // 4)):
        place = int(left.places[index, 0])
        if left.token_at(place) != index:
            continue  # one of several tokens of a character
        ids, places = left.around(index)
        other_ids, other_places = right.around(right.token_at(place))
        if len(ids) == 2 * AGREEING and np.array_equal(ids, other_ids) and np.array_equal(places, other_places):
            return place
    return None
