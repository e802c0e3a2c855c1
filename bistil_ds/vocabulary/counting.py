"""Count how often each token occurs in a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import datasets
import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar

BATCH_TEXTS = 4000


def count_tokens(
    texts: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, *, name: str = "corpus", progress: bool = True
) -> npt.NDArray[np.int64]:
    """Count the tokens in a data set's column "text", which is read in batches and need not fit in memory.

    `name` labels the progress bar. The tokenizer runs threads on all cores (on one if TOKENIZERS_PARALLELISM=false).
    Counting 7.9 million characters took 1.8 s on two cores, and 4.7 s with `datasets.map` in two processes.

    Returns:
        int64 [V], the count of each token id; V is the largest id + 1. Special tokens, among them the unknown token,
        have a count of 0.
    """
    counts_V = np.zeros(max(tokenizer.get_vocab().values()) + 1, np.int64)
    with progress_bar(what=f"counting tokens, {name}", total=len(texts), unit=" texts", show=progress) as bar:
        for batch in texts.select_columns("text").iter(BATCH_TEXTS):
            ids = encode_whole(batch["text"], tokenizer)
            counts_V += np.bincount(np.fromiter(chain.from_iterable(ids), np.int64), minlength=len(counts_V))
            bar.update(len(ids))
    counts_V[tokenizer.all_special_ids] = 0
    return counts_V


def encode_whole(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, add_special_tokens: bool = False
) -> list[list[int]]:
    """Return the ids of each text, neither cut nor padded, whatever truncation and padding the tokenizer is set to."""
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    try:
        encodings = backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
        return [encoding.ids for encoding in encodings]
    finally:
        if truncation:
            backend.enable_truncation(**truncation)
        if padding:
            backend.enable_padding(**padding)
