"""Check, load or stream data sets through the library `datasets`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, load_dataset, load_dataset_builder

from bistil_ds.errors import InputError
from bistil_ds.runs.cache import cache_folder
from bistil_ds.runs.files import nearest_existing
from bistil_ds.text.options import DEFAULT_COLUMN, TextOptions, check_text, choose_column, string_columns
from bistil_ds.text.specification import HubDataset

COMMON_SPLITS = ("train", "test", "validation", "dev")


def load_rows(corpus: HubDataset, flag: str, **options: Any) -> Any:
    """Return a data set's split as a memory-mapped `Dataset` or, with `streaming=True`, as an iterable of rows.

    `datasets` writes its files to its own cache, or to ours if its own cannot be written.

    Raises:
        InputError: the data set cannot be loaded.
    """
    with _loading(corpus, flag):
        return load_dataset(corpus.id, corpus.config, split=corpus.split, cache_dir=_cache_dir(), **options)


def check_hub(corpus: HubDataset, options: TextOptions) -> None:
    """Check that a data set exists and, as far as its description says, has the split and the column.

    Raises:
        InputError: the data set is neither on the hub nor in the cache, or it lacks the split or the column.
    """
    with _loading(corpus, options.flag):
        info = load_dataset_builder(corpus.id, corpus.config, cache_dir=_cache_dir()).info
    where = f"{options.flag}: data set {corpus.id}"
    if info.splits and corpus.split.isidentifier() and corpus.split not in info.splits:
        raise InputError(f"{where} has no split {corpus.split!r}; it has {', '.join(info.splits)}")
    if info.features and options.column not in info.features:
        strings = string_columns(info.features.arrow_schema)
        if options.column != DEFAULT_COLUMN or len(strings) != 1:  # else the first row will decide
            choose_column(dict.fromkeys(info.features), options, where)


def stream_texts(corpus: HubDataset, options: TextOptions) -> Iterator[tuple[int, str]]:
    """Yield (row number from 1, text) for each row; a missing text is "". Rows are downloaded only as they are read.

    Raises:
        InputError: the data set cannot be loaded, or no column holds its texts.
    """
    where = f"{options.flag}: data set {corpus.id}, split {corpus.split}"
    rows = load_rows(corpus, options.flag, streaming=True)
    with _loading(corpus, options.flag):
        first = next(iter(rows), None)
        if first is None:
            return
        column = choose_column(first, options, where)
        for number, row in enumerate(rows.select_columns([column]), 1):
            value = row[column]
            yield number, "" if value is None else check_text(value, column, options, f"{where}, row {number}")


def hub_key(corpus: HubDataset, flag: str) -> str:
    """Return a hash that changes with the data set's name, configuration, version, files or split.

    Raises:
        InputError: the data set cannot be found.
    """
    with _loading(corpus, flag):
        builder = load_dataset_builder(corpus.id, corpus.config, cache_dir=_cache_dir())
    parts = (corpus.id, builder.config_id, str(builder.config.version), str(builder.hash), corpus.split)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def only_texts(rows: Dataset, options: TextOptions, where: str) -> Dataset:
    """Return a data set with one column, `text`, that holds the texts of `rows`.

    Raises:
        InputError: no column holds texts, or there is no row.
    """
    if not len(rows):
        raise InputError(f"{where} holds no text; give a corpus with text")
    strings = string_columns(rows.features.arrow_schema)
    first = rows.select_columns(strings)[0] if strings and options.column not in rows.column_names else {}
    column = choose_column(dict.fromkeys(rows.column_names) | first, options, where)
    if column not in strings:
        kind = getattr(rows.features[column], "dtype", "a list")
        raise InputError(f"{where}: column {column!r} holds {kind}, not text; {options.advice}")
    texts = rows.select_columns([column])
    return texts if column == "text" else texts.rename_column(column, "text")


def _cache_dir() -> str | None:
    """Return None if the cache of `datasets` can be written, else the path of a folder in our cache."""
    place = nearest_existing(Path(datasets.config.HF_DATASETS_CACHE))
    return None if os.access(place, os.W_OK) else str(cache_folder("datasets"))


@contextmanager
def _loading(corpus: HubDataset, flag: str) -> Iterator[None]:
    """Turn every exception into InputError, because those of `datasets` have no common type."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        advice = f"; a split comes third, as in {corpus.id}::{corpus.config}" if corpus.config in COMMON_SPLITS else ""
        raise InputError(
            f"{flag}: no file {corpus.id}, and as a hub data set it cannot be loaded: {reason}{advice}"
        ) from None
