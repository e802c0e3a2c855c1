"""Count how often each token occurs in a corpus."""

from __future__ import annotations

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.vocabulary.encoding import Ids, encode, in_order, join, text_batches, whole_texts


def count_tokens(
    texts: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str = "corpus",
    rows: int | None = None,
    progress: bool = True,
) -> npt.NDArray[np.int64]:
    """Count the tokens in a data set's column "text", which is read in batches and need not fit in memory.

    `name` labels the progress bar; `rows` is the largest id + 1 if it is known already. The tokenizer runs threads on
    all cores (on one if TOKENIZERS_PARALLELISM=false).
    Counting 7.9 million characters took 1.8 s on two cores, and 4.7 s with `datasets.map` in two processes.

    Returns:
        int64 [V], the count of each token id; V is the largest id + 1. Special tokens, among them the unknown token,
        have a count of 0.
    """
    counts_V = np.zeros(rows or max(tokenizer.get_vocab().values()) + 1, np.int64)
    with (
        whole_texts(tokenizer) as backend,
        progress_bar(what=f"counting tokens, {name}", total=len(texts), unit=" texts", show=progress) as bar,
    ):

        def tokenise(column: pa.ChunkedArray) -> tuple[int, Ids]:
            return len(column), join(encode([text or "" for text in column.to_pylist()], backend))

        for count, ids in in_order(tokenise, text_batches(texts), workers=1):
            counts_V += np.bincount(ids, minlength=len(counts_V))
            bar.update(count)
    counts_V[tokenizer.all_special_ids] = 0
    return counts_V
