"""Keep the tokens of a corpus, so that after trimming few texts have to be tokenised again.

Shapes: N texts or rows, V ids of a vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.text.arrow_file import cached_dataset
from bistil_ds.vocabulary.encoding import PROBE, Ids, encode, in_order, join, special_ids, text_batches, whole_texts
from bistil_ds.vocabulary.renumbering import AGAIN, new_ids

COUNTED = 1 << 20  # tokens that are counted at once, in 8 bytes each
RECIPE = "tokens-1"  # part of the key in the cache: change it when the same texts are to give other tokens
FEATURES = Features({"tokens": List(Value("int32")), "blank": Value("bool")})


@dataclass(frozen=True)
class KnownTokens:
    """The tokens of a corpus by a tokenizer, without special tokens, memory-mapped.

    Attributes:
        texts: the corpus, N texts in the column `text`.
        rows: N rows of FEATURES, as Arrow tables.
        definition: the tokenizer, as `definition_of` returns it.
        special: ids of its special tokens.
    """

    texts: Dataset
    rows: Dataset
    definition: str
    special: list[int]

    def count(self, size: int) -> npt.NDArray[np.int64]:
        """Return what `count_tokens` returns for these texts, int64 [V], with V = `size`."""
        counts_V = np.zeros(size, np.int64)
        for first, texts in self._numbered():
            tokens, _ = _tokens(self._table(first, len(texts)))
            for at in range(0, len(tokens), COUNTED):
                counts_V += np.bincount(tokens[at : at + COUNTED], minlength=size)
        counts_V[self.special] = 0
        return counts_V

    def renumbered(self, after: str, workers: int) -> Iterator[tuple[int, Ids]] | None:
        """Return an iterator over the ids of a trimmed tokenizer; None if they cannot be told (see `new_ids`).

        It yields (number of texts, ids of all of them laid end to end) for each batch of texts, in order. A text has
        its special tokens; blank and missing texts have no tokens.

        Args:
            after: the tokenizer that `trim_tokenizer` made, as text.
            workers: number of threads.
        """
        new_id, backend = new_ids(self.definition, after), Tokenizer.from_str(after)
        before, behind = special_ids(PROBE, backend)
        bare, whole = (backend.encode(PROBE, add_special_tokens=special).ids for special in (False, True))
        if new_id is None or not bare or whole != [*before, *bare, *behind]:
            return None

        def renumber(part: tuple[int, pa.ChunkedArray]) -> tuple[int, Ids]:
            first, texts = part
            table = self._table(first, len(texts))
            tokens, lengths = _tokens(table)
            filled = ~table["blank"].to_numpy()
            if not filled.all():
                tokens, lengths = tokens[np.repeat(filled, lengths)], lengths * filled
            ids = new_id[tokens]
            ends = np.cumsum(lengths)
            again = np.unique(np.searchsorted(ends, np.flatnonzero(ids == AGAIN), side="right"))
            if len(again):
                rows = np.split(ids, ends[:-1])
                for row, found in zip(again, encode(texts.take(again).to_pylist(), backend), strict=True):
                    rows[row], lengths[row] = np.asarray(found, np.int32), len(found)
                ids, ends = np.concatenate(rows), np.cumsum(lengths)
            borders = np.column_stack([ends - lengths, ends])[filled].ravel()
            counts = np.tile([len(before), len(behind)], filled.sum())
            special = np.tile(np.concatenate([before, behind]), filled.sum())
            return len(texts), np.insert(ids, np.repeat(borders, counts), special)

        return in_order(renumber, self._numbered(), workers)

    def _numbered(self) -> Iterator[tuple[int, pa.ChunkedArray]]:
        """Yield (number of the first text, texts) of each batch."""
        first = 0
        for texts in text_batches(self.texts):
            yield first, texts
            first += len(texts)

    def _table(self, first: int, count: int) -> pa.Table:
        return self.rows[first : first + count]


def know_tokens(
    texts: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    num_proc: int | None = None,
    name: str = "corpus",
    progress: bool = True,
) -> KnownTokens:
    """Tokenise a corpus and keep its tokens in the cache, where they take 4 bytes each.

    Args:
        texts: a data set with the column `text` (string).
        tokenizer: a fast tokenizer; its padding and truncation are not used, and it is not changed.
        num_proc: number of threads that tokenise; by default one a CPU core.
        name: what the progress bar calls the corpus.
        progress: show a bar.
    """
    definition = definition_of(tokenizer)
    key = "tokens-" + hashlib.sha256("\0".join([RECIPE, texts._fingerprint, definition]).encode()).hexdigest()[:32]

    def write() -> Iterator[pa.RecordBatch]:
        with whole_texts(tokenizer) as backend:
            yield from _tokenised(texts, backend, num_proc or os.cpu_count() or 1, name, progress)

    rows = cached_dataset(key, FEATURES, write).with_format("arrow")
    return KnownTokens(texts, rows, definition, tokenizer.all_special_ids)


def _tokenised(texts: Dataset, backend: Tokenizer, workers: int, name: str, progress: bool) -> Iterator[pa.RecordBatch]:
    def tokenise(column: pa.ChunkedArray) -> pa.RecordBatch:
        batch = [text or "" for text in column.to_pylist()]
        found = encode(batch, backend)
        ends = np.cumsum([0, *map(len, found)], dtype=np.int32)
        rows = pa.ListArray.from_arrays(ends, join(found))
        blank = pa.array([not text or text.isspace() for text in batch])
        return pa.record_batch([rows, blank], schema=FEATURES.arrow_schema)

    shown = f"counting tokens, {name}"
    with progress_bar(what=shown, total=len(texts), unit=" texts", unit_scale=True, show=progress) as bar:
        for batch in in_order(tokenise, text_batches(texts), workers):
            bar.update(len(batch))
            yield batch


def definition_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return tokenizer.json as text, with padding and truncation switched off: earlier calls may have left them on."""
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition |= {"padding": None, "truncation": None}
    return json.dumps(definition, ensure_ascii=False)


def _tokens(table: pa.Table) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Return the tokens of all rows, laid end to end and not to be changed, and the number of tokens of each row."""
    rows = table["tokens"]
    parts = [part.flatten().to_numpy() for part in rows.chunks] or [np.empty(0, np.int32)]
    tokens = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return tokens, pc.list_value_length(rows).to_numpy().astype(np.int64)
