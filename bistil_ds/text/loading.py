"""Load the texts of one language as a memory-mapped data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Features, Value

from bistil_ds.console.progress import progress_bar
from bistil_ds.text.arrow_file import cached_dataset
from bistil_ds.text.corpus import (
    corpus_hash,
    corpus_texts,
    files_of,
    hash_of,
    hub_options,
    no_text,
    reading_of,
    saved_texts,
)
from bistil_ds.text.folders import is_saved
from bistil_ds.text.form import JSONL, PLAIN
from bistil_ds.text.hub import hub_key, load_rows, only_texts
from bistil_ds.text.options import TextOptions
from bistil_ds.text.specification import HubDataset, parse_texts

FEATURES = Features({"text": Value("string")})
RECIPE = "texts-1"  # part of the key in the cache: change it when the same file is to be read differently
BATCH_TEXTS, BATCH_CHARACTERS = 10_000, 1 << 25  # a batch is written when it reaches one of them
IN_KEY = {PLAIN: "False", JSONL: "True"}  # what stands for a form in the key; these two as in version 0.1


def load_texts(
    spec: str | Path | Dataset, *, text_column: str = "text", max_texts: int | None = None, name: str = "the corpus"
) -> Dataset:
    """Return the texts of a corpus, in order, as a data set whose only column is `text` (string).

    Texts from files and from the hub are memory-mapped; a `datasets.Dataset` is not copied.

    Args:
        spec: one of these. A file, compressed or not: plain text (one text a line; blank lines are skipped), JSONL,
            CSV, TSV or Parquet, recognised as docs/data-and-runs.md says; `plain:` in front makes it plain text. A
            folder of such files. A folder that `save_to_disk` left. A hub data set
            `org/name[:config[:split[:column]]]`; with `hf:` in front, its name may be any that `datasets` loads. A
            `datasets.Dataset`. Texts from files are cached by the hash of their bytes.
        text_column: the column with the text, in data that has columns.
        max_texts: read only the first `max_texts` texts; of a hub data set, only these are downloaded.
        name: the name of the corpus in error messages, such as `--source_file`.

    Raises:
        InputError: the corpus cannot be read or holds no text; the message is one line, and gives a bad line's number.
    """
    options = TextOptions(name, text_column)
    if isinstance(spec, Dataset):
        return _first_rows(only_texts(spec, options, name), max_texts)
    return load_corpus(*parse_texts(spec, options), max_texts)


def load_corpus(corpus: Path | HubDataset, options: TextOptions, max_texts: int | None = None) -> Dataset:
    """Return the texts of a file, folder or data set as `load_texts` does.

    Raises:
        InputError: the corpus cannot be read or holds no text.
    """
    name = options.flag
    if isinstance(corpus, HubDataset) and max_texts is None:
        options = hub_options(corpus, options)
        return only_texts(load_rows(corpus, name), options, f"{name}: data set {corpus.id}, split {corpus.split}")
    if isinstance(corpus, Path) and is_saved(corpus):
        texts = saved_texts(corpus, options)
        # The key must depend on the content: the fingerprint in the folder stays the same if a file is changed later.
        key = f"saved-{options.column}-{corpus_hash(corpus, name)}"
        return _first_rows(Dataset(texts.data, fingerprint=key), max_texts)
    key = _key(corpus, options, max_texts)
    shown = corpus.id if isinstance(corpus, HubDataset) else corpus.name
    texts = cached_dataset(key, FEATURES, lambda: _batches(corpus_texts(corpus, options, max_texts), shown))
    if not len(texts):
        raise no_text(corpus, name)
    return texts


def _first_rows(rows: Dataset, most: int | None) -> Dataset:
    """Return the first `most` rows of a data set, or all of them if `most` is None or larger."""
    return rows if most is None or most >= len(rows) else rows.select(range(most))


def _key(corpus: Path | HubDataset, options: TextOptions, max_texts: int | None) -> str:
    """Return the key of the texts in the cache, a hash of everything on which the texts depend."""
    if isinstance(corpus, HubDataset):
        parts = ["hub", hub_key(corpus, options.flag), hub_options(corpus, options).column]
    else:
        parts = [part for path in files_of(corpus, options.flag) for part in _key_parts(path, options)]
    if max_texts is not None:
        parts.append(f"first {max_texts}")
    return "texts-" + hashlib.sha256("\0".join([RECIPE, *parts]).encode()).hexdigest()[:32]


def _key_parts(path: Path, options: TextOptions) -> list[str]:
    form, suffix, column = reading_of(path, options)
    return [hash_of(path, options.flag), suffix, column, IN_KEY.get(form, form)]


def _batches(texts: Iterable[str], name: str) -> Iterator[pa.RecordBatch]:
    batch: list[str] = []
    characters = 0
    for text in progress_bar(texts, f"reading {name}", unit=" texts", unit_scale=True, delay=1):
        batch.append(text)
        characters += len(text)
        if len(batch) == BATCH_TEXTS or characters > BATCH_CHARACTERS:
            yield pa.record_batch([pa.array(batch, pa.string())], schema=FEATURES.arrow_schema)
            batch, characters = [], 0
    if batch:
        yield pa.record_batch([pa.array(batch, pa.string())], schema=FEATURES.arrow_schema)
