"""Split chunks into a training and a validation part."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
from datasets import Dataset

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError


def split_validation(
    chunks: Dataset, fraction: float = 0.05, most: int = 2000, *, name: str = "the corpus"
) -> tuple[Dataset, Dataset]:
    """Return training and validation chunks, both memory-mapped.

    Chunks are hashed by their token ids. Validation gets those with the smallest hashes, in the order of the hashes and
    each once: `min(most, max(1, round(fraction * n)))` of the `n` chunks. So the order of `chunks` does not matter.
    Copies of a validation chunk are left out of training. Validation gets fewer chunks if training would otherwise keep
    none, as when nearly all chunks are equal.

    Args:
        name: the name of the corpus in error messages.

    Raises:
        InputError: there are fewer than two different chunks.
    """
    hashes_N = _hashes(chunks)
    distinct, first = np.unique(hashes_N, return_index=True)
    if len(distinct) < 2:
        raise InputError(
            f"{name} gives {len(distinct)} different chunks: too few to train and to validate on; "
            "give more text or a shorter --max_length"
        )
    count = min(most, max(1, round(fraction * len(chunks))), len(distinct) - 1)
    training = np.flatnonzero(hashes_N > distinct[count - 1])
    return chunks.select(training), chunks.select(first[:count])


def _hashes(chunks: Dataset) -> np.ndarray:
    """Return a 64-bit hash of the `input_ids` of each of the N chunks, uint64 [N]."""
    hashes_N = np.empty(len(chunks), np.uint64)
    position = 0
    tables = chunks.select_columns("input_ids").with_format("arrow").iter(batch_size=1000)
    with progress_bar(what="splitting", total=len(chunks), unit=" chunks", unit_scale=True, delay=2) as bar:
        for table in tables:
            for ids in table["input_ids"].combine_chunks().cast(pa.list_(pa.int32())).to_numpy(zero_copy_only=False):
                digest = hashlib.blake2b(ids.tobytes(), digest_size=8).digest()
                hashes_N[position] = int.from_bytes(digest, "little")
                position += 1
            bar.update(len(table))
    return hashes_N
