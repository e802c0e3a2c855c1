"""Pack texts into chunks of token ids of one length, as in the published method (BiStil, section 3).

Shapes: N chunks, T tokens in a chunk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator

import pyarrow as pa
from datasets import Dataset, Features, List, Value
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.text.arrow_file import cached_dataset
from bistil_ds.text.cutting import cut
from bistil_ds.text.tokens import KnownTokens, definition_of
from bistil_ds.vocabulary.encoding import Ids, encode, in_order, join, text_batches

RECIPE = "chunks-1"  # part of the key in the cache: change it when the same texts are to be packed differently
TOKENS_WRITTEN = 1 << 20  # approximate number of tokens in a record batch of the file


def pack(
    texts: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    *,
    num_proc: int | None = None,
    progress: bool = True,
    known: KnownTokens | None = None,
) -> Dataset:
    """Concatenate all texts, in order and with their special tokens, and cut them every `length` tokens.

    Tokens after the last whole chunk are dropped.

    Args:
        texts: a data set with the column `text` (string); blank and missing texts are skipped.
        tokenizer: a fast tokenizer; its padding and truncation are not used, and it is not changed.
        length: tokens in a chunk.
        num_proc: number of threads that tokenise; by default one a CPU core. Threads suffice, because the tokenizer
            releases Python's lock. The result does not depend on their number.
        progress: show a bar.
        known: the tokens of the texts by the tokenizer of which `tokenizer` is a trimmed copy. The chunks are the same
            without them; with them, most texts need not be tokenised again.

    Returns:
        A memory-mapped data set with the column `input_ids` (int32 [T]). It is cached under a key made of the texts'
        fingerprint, the tokenizer and the length.

    Raises:
        InputError: the tokenizer is not a fast one, or the length is below 1.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"tokenizer {tokenizer.name_or_path} has no tokenizer.json; a fast tokenizer is needed")
    if length < 1:
        raise InputError(f"--max_length {length}: a chunk needs at least one token")
    definition = definition_of(tokenizer)
    parts = "\0".join([RECIPE, texts._fingerprint, definition, str(length)])
    features = Features({"input_ids": List(Value("int32"), length=length)})

    def write() -> Iterator[pa.RecordBatch]:
        workers = num_proc or os.cpu_count() or 1
        streams = known.renumbered(definition, workers) if known else None
        streams = streams or _token_batches(texts, definition, workers)
        with progress_bar(what="tokenising", total=len(texts), unit=" texts", unit_scale=True, show=progress) as bar:
            for chunks_NT in cut(_counted(streams, bar.update), length, at_once=TOKENS_WRITTEN):
                values = pa.FixedSizeListArray.from_arrays(pa.array(chunks_NT.reshape(-1)), length)
                yield pa.record_batch([values], schema=features.arrow_schema)

    return cached_dataset("chunks-" + hashlib.sha256(parts.encode()).hexdigest()[:32], features, write)


def _token_batches(texts: Dataset, definition: str, workers: int) -> Iterator[tuple[int, Ids]]:
    """Yield for each batch of texts, in order: (number of texts, token ids of all of them laid end to end)."""
    backend = Tokenizer.from_str(definition)

    def tokenise(column: pa.ChunkedArray) -> tuple[int, Ids]:
        filled = [text for text in column.to_pylist() if text and not text.isspace()]
        return len(column), join(encode(filled, backend, add_special_tokens=True))

    return in_order(tokenise, text_batches(texts), workers)


def _counted(streams: Iterator[tuple[int, Ids]], advance: Callable[[int], object]) -> Iterator[Ids]:
    """Yield the token ids of each batch of texts; first call `advance` with the number of texts in that batch."""
    for count, ids in streams:
        advance(count)
        yield ids
