"""Pack texts into chunks of token ids of one length, as in the published method (BiStil, section 3).

Shapes: N chunks, T tokens in a chunk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, List, Value
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.text.arrow_file import cached_dataset
from bistil_ds.text.cutting import cut

RECIPE = "chunks-1"  # part of the key in the cache: change it when the same texts are to be packed differently
TEXTS_AT_ONCE = 1000
TOKENS_WRITTEN = 1 << 20  # approximate number of tokens in a record batch of the file


def pack(
    texts: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    *,
    num_proc: int | None = None,
    progress: bool = True,
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
    definition = _definition(tokenizer)
    parts = "\0".join([RECIPE, texts._fingerprint, definition, str(length)])
    features = Features({"input_ids": List(Value("int32"), length=length)})

    def write() -> Iterator[pa.RecordBatch]:
        streams = _token_batches(texts, Tokenizer.from_str(definition), num_proc or os.cpu_count() or 1)
        with progress_bar(what="tokenising", total=len(texts), unit=" texts", unit_scale=True, show=progress) as bar:
            for chunks_NT in cut(_counted(streams, bar.update), length, at_once=TOKENS_WRITTEN):
                values = pa.FixedSizeListArray.from_arrays(pa.array(chunks_NT.reshape(-1)), length)
                yield pa.record_batch([values], schema=features.arrow_schema)

    return cached_dataset("chunks-" + hashlib.sha256(parts.encode()).hexdigest()[:32], features, write)


def _definition(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return tokenizer.json as text, with padding and truncation switched off: earlier calls may have left them on."""
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition |= {"padding": None, "truncation": None}
    return json.dumps(definition, ensure_ascii=False)


def _token_batches(texts: Dataset, tokenizer: Tokenizer, workers: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for each batch of texts, in order: (number of texts, int32 token ids of all of them laid end to end)."""

    def tokenise(start: int) -> tuple[int, np.ndarray]:
        batch = texts[start : start + TEXTS_AT_ONCE]["text"]
        encodings = tokenizer.encode_batch_fast([text for text in batch if text and not text.isspace()])
        ids = [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
        return len(batch), np.concatenate([np.empty(0, np.int32), *ids])

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(tokenise, range(0, len(texts), TEXTS_AT_ONCE))
    finally:  # cancel the waiting batches: an interrupt must not wait for the whole corpus
        pool.shutdown(cancel_futures=True)


def _counted(streams: Iterator[tuple[int, np.ndarray]], advance: Callable[[int], object]) -> Iterator[np.ndarray]:
    """Yield the token ids of each batch of texts; first call `advance` with the number of texts in that batch."""
    for count, ids in streams:
        advance(count)
        yield ids
