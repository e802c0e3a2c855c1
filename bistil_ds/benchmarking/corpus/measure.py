"""Prepare a corpus for phase 1 under a memory limit, as this package does and as a user of `datasets` would."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars, load_dataset
from transformers import PreTrainedTokenizerBase

from bistil_ds.benchmarking.corpus.memory_limit import PeakMemory, limit_memory
from bistil_ds.benchmarking.harness.peak_memory import resident_peak
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.text import know_tokens, load_texts, pack, split_validation
from bistil_ds.vocabulary import select_ids, trim_tokenizer

LENGTH = 256  # tokens in a chunk
TRIMMED = "trimmed"  # folder of the trimmed tokenizer, beside the corpus
GROUPED = 1000  # texts that a user's own function lays end to end at once, the default of `datasets`

Seconds = dict[str, float]  # step → CPU seconds of all threads, which other work on the machine changes little


def prepare(corpus: Path, tokenizer: PreTrainedTokenizerBase, seconds: Seconds) -> Dataset:
    """Return the training chunks of a corpus as phase 1 makes them: read, count, trim, tokenise, split."""
    with _timed("read", seconds):
        texts = load_texts(corpus)
    with _timed("count", seconds):
        known = know_tokens(texts, tokenizer, progress=False)
        counts = known.count(len(tokenizer))
    with _timed("trim", seconds):
        trimmed = trim_tokenizer(tokenizer, select_ids({"": counts}, tokenizer))
    save_tokenizer(trimmed, corpus.parent / TRIMMED)
    with _timed("tokenise", seconds):
        chunks = pack(texts, trimmed, LENGTH, progress=False, known=known)
    with _timed("split", seconds):
        return split_validation(chunks)[0]


def map_with_datasets(corpus: Path, tokenizer: PreTrainedTokenizerBase, seconds: Seconds) -> Dataset:
    """Return chunks of a corpus by `datasets` alone, in one process: `load_dataset`, and `map` twice.

    Nothing is counted or trimmed, so there is one pass of the tokenizer.
    """

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        ids = [i for text in batch["input_ids"] for i in text]
        return {"input_ids": [ids[at : at + LENGTH] for at in range(0, len(ids) - LENGTH + 1, LENGTH)]}

    with _timed("read", seconds):
        form = {".txt": "text"}.get(corpus.suffix, "parquet")
        texts = load_dataset(form, data_files=str(corpus), split="train", cache_dir=str(corpus.parent / "datasets"))
    with _timed("tokenise", seconds):
        tokens = texts.map(lambda batch: tokenizer(batch["text"], verbose=False), batched=True, remove_columns="text")
    with _timed("group", seconds):
        return tokens.map(group, batched=True, batch_size=GROUPED, remove_columns=tokens.column_names)


def reopen(corpus: Path, tokenizer: PreTrainedTokenizerBase, seconds: Seconds) -> Dataset:
    """Return the training chunks of a corpus that was prepared before, as each rank but the first gets them."""
    trimmed = load_tokenizer("", corpus.parent / TRIMMED)
    with _timed("read", seconds):
        texts = load_texts(corpus)
    with _timed("tokenise", seconds):
        chunks = pack(texts, trimmed, LENGTH, progress=False)
    with _timed("split", seconds):
        return split_validation(chunks)[0]


WAYS: dict[str, Callable[[Path, PreTrainedTokenizerBase, Seconds], Dataset]] = {
    "ours": prepare,
    "datasets": map_with_datasets,
    "further rank": reopen,
}


def measure(way: str, corpus: Path, tokenizer: Path, limit: int | None) -> dict[str, Any]:
    """Make the chunks of a corpus in one of WAYS; return their number, CPU seconds by step, time and peak memory.

    Args:
        tokenizer: folder of the tokenizer.
        limit: bytes of anonymous memory that this process may have; None: any number.
    """
    os.environ["BISTIL_CACHE"] = str(corpus.parent / "cache")
    if limit is not None:
        limit_memory(limit)
    disable_progress_bars()
    seconds: Seconds = {}
    loaded = load_tokenizer("", tokenizer)
    start = time.perf_counter()
    with PeakMemory() as peak:
        chunks = WAYS[way](corpus, loaded, seconds)
    found: dict[str, Any] = {"chunks": len(chunks), "seconds": seconds, "passed": time.perf_counter() - start}
    return {**found, "peak_bytes": peak.bytes, "resident_bytes": resident_peak()}


@contextmanager
def _timed(step: str, seconds: Seconds) -> Iterator[None]:
    start = time.process_time()
    yield
    seconds[step] = time.process_time() - start
