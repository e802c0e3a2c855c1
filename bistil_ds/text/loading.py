"""Load the texts of one language as a memory-mapped data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Features, Value, load_dataset

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.runs.cache import file_hash
from bistil_ds.text.arrow_file import cached_dataset
from bistil_ds.text.checks import hub_error
from bistil_ds.text.specification import HubDataset, parse_specification
from bistil_ds.text.text_files import is_jsonl, read_texts

FEATURES = Features({"text": Value("string")})
RECIPE = "texts-1"  # part of the cache's key: change it when the same file is to be read differently
BATCH_TEXTS, BATCH_CHARACTERS = 10_000, 1 << 25


def load_texts(spec: str | Path | Dataset, *, text_column: str = "text", name: str = "the corpus") -> Dataset:
    """Return the texts of a corpus, in order, as a data set whose only column is `text` (string).

    Texts from files and from the hub are memory-mapped; a `datasets.Dataset` is not copied.

    Args:
        spec: a plain text file (one text a line; blank lines are skipped) or a JSONL file, gzipped or not; a hub data
            set `org/name[:config[:split]]`; or a `datasets.Dataset`. Files are cached by the hash of their bytes.
        text_column: the column with the text; plain text files have none.
        name: the name of the corpus in error messages, such as `--source_file`.

    Raises:
        InputError: the corpus cannot be read or holds no text; the message has one line and names a bad line's number.
    """
    if isinstance(spec, Dataset):
        return _only_text(spec, text_column, name)
    corpus = parse_specification(spec)
    if isinstance(corpus, HubDataset):
        try:
            loaded = load_dataset(corpus.id, corpus.config, split=corpus.split)
        except Exception as error:
            raise hub_error(corpus, name, error) from None
        return _only_text(loaded, text_column, name)
    texts = cached_dataset(
        _key(corpus, text_column, name), FEATURES, lambda: _batches(read_texts(corpus, text_column, name), corpus)
    )
    if not len(texts):
        raise InputError(f"{name}: {corpus} holds no text (empty or blank lines only); give a file with text")
    return texts


def _key(path: Path, text_column: str, name: str) -> str:
    if not path.is_file():
        next(read_texts(path, text_column, name), None)  # raises an error that names the reason
    column = text_column if is_jsonl(path) else ""
    parts = "\0".join([RECIPE, file_hash(path), "gz" if path.suffix == ".gz" else "", column, str(is_jsonl(path))])
    return "texts-" + hashlib.sha256(parts.encode()).hexdigest()[:32]


def _batches(texts: Iterator[str], path: Path) -> Iterator[pa.RecordBatch]:
    batch: list[str] = []
    characters = 0
    for text in progress_bar(texts, f"reading {path.name}", unit=" texts", unit_scale=True, delay=1):
        batch.append(text)
        characters += len(text)
        if len(batch) == BATCH_TEXTS or characters > BATCH_CHARACTERS:
            yield pa.record_batch([pa.array(batch, pa.string())], schema=FEATURES.arrow_schema)
            batch, characters = [], 0
    if batch:
        yield pa.record_batch([pa.array(batch, pa.string())], schema=FEATURES.arrow_schema)


def _only_text(texts: Dataset, text_column: str, name: str) -> Dataset:
    if text_column not in texts.column_names:
        columns = ", ".join(texts.column_names)
        raise InputError(f"{name}: no column {text_column!r} (it has {columns}); name it with --text_column")
    dtype = getattr(texts.features[text_column], "dtype", "a list")
    if dtype not in ("string", "large_string"):
        raise InputError(f"{name}: column {text_column!r} holds {dtype}, not text; name the text with --text_column")
    if not len(texts):
        raise InputError(f"{name} holds no text; give a corpus with text")
    texts = texts.select_columns([text_column])
    return texts if text_column == "text" else texts.rename_column(text_column, "text")
