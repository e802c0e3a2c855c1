"""Load the texts of one language as a memory-mapped data set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Features, Value

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.runs.cache import file_hash
from bistil_ds.text.arrow_file import cached_dataset
from bistil_ds.text.compression import compression_of, unreadable
from bistil_ds.text.folders import is_saved, load_saved, saved_folder, text_files
from bistil_ds.text.form import JSONL, PARQUET, PLAIN, TABLE, form_of
from bistil_ds.text.hub import hub_key, load_rows, only_texts, stream_texts
from bistil_ds.text.options import TextOptions
from bistil_ds.text.specification import HubDataset, parse_specification
from bistil_ds.text.text_files import numbered_texts

FEATURES = Features({"text": Value("string")})
RECIPE = "texts-1"  # part of the cache's key: change it when the same file is to be read differently
BATCH_TEXTS, BATCH_CHARACTERS = 10_000, 1 << 25
IN_KEY = {PLAIN: "False", JSONL: "True"}  # the words for these forms in keys of 0.1, whose caches stay


def load_texts(
    spec: str | Path | Dataset, *, text_column: str = "text", max_texts: int | None = None, name: str = "the corpus"
) -> Dataset:
    """Return the texts of a corpus, in order, as a data set whose only column is `text` (string).

    Texts from files and from the hub are memory-mapped; a `datasets.Dataset` is not copied.

    Args:
        spec: a file, compressed or not: plain text (one text a line; blank lines are skipped), JSONL, CSV, TSV or
            Parquet, recognised as docs/data-and-runs.md says; a folder of such files; a folder that `save_to_disk`
            left; a hub data set `org/name[:config[:split[:column]]]`, or any that `datasets` loads with `hf:` in front;
            or a `datasets.Dataset`. What is read from files is cached by the hash of their bytes.
        text_column: the column with the text, in data that has columns.
        max_texts: read no more than the first texts; of a hub data set, no more is downloaded.
        name: the name of the corpus in error messages, such as `--source_file`.

    Raises:
        InputError: the corpus cannot be read or holds no text; the message has one line and names a bad line's number.
    """
    options = TextOptions(name, text_column)
    if isinstance(spec, Dataset):
        return first_rows(only_texts(spec, options, name), max_texts)
    corpus = parse_specification(spec)
    if isinstance(corpus, HubDataset) and max_texts is None:
        options = hub_options(corpus, options)
        return only_texts(load_rows(corpus, name), options, f"{name}: data set {corpus.id}, split {corpus.split}")
    if isinstance(corpus, Path) and is_saved(corpus):
        texts = saved_texts(corpus, options)
        # by its content: the fingerprint that was saved says nothing of a file that was changed since
        key = f"saved-{options.column}-{corpus_hash(corpus, name)}"
        return first_rows(Dataset(texts.data, fingerprint=key), max_texts)
    key = _key(corpus, options, max_texts)
    shown = corpus.id if isinstance(corpus, HubDataset) else corpus.name
    texts = cached_dataset(key, FEATURES, lambda: _batches(corpus_texts(corpus, options, max_texts), shown))
    if not len(texts):
        raise no_text(corpus, name)
    return texts


def corpus_texts(corpus: Path | HubDataset, options: TextOptions, max_texts: int | None = None) -> Iterator[str]:
    """Yield the texts of a file, a folder of files or a data set, in order, one at a time; leave out blank texts.

    Raises:
        InputError: the corpus cannot be read.
    """
    texts = (text for _, _, text in located_texts(corpus, options) if text.strip())
    return islice(texts, max_texts)


def located_texts(corpus: Path | HubDataset, options: TextOptions) -> Iterator[tuple[str, int, str]]:
    """Yield the file or data set of each text, the number of its line or row, and the text, which may be blank.

    Raises:
        InputError: the corpus cannot be read.
    """
    if isinstance(corpus, HubDataset):
        for number, text in stream_texts(corpus, hub_options(corpus, options)):
            yield f"{corpus.id}, split {corpus.split}", number, text
    elif is_saved(corpus):
        for number, text in enumerate(saved_texts(corpus, options)["text"], 1):
            yield str(corpus), number, text or ""
    else:
        for path in files_of(corpus, options.flag):
            for number, text in numbered_texts(path, options):
                yield str(path), number, text


def saved_texts(folder: Path, options: TextOptions) -> Dataset:
    """Return the texts, in the column `text`, of the data set that `save_to_disk` left in a folder.

    Raises:
        InputError: it cannot be loaded, or no column holds texts.
    """
    return only_texts(load_saved(folder, options.flag), options, f"{options.flag}: {folder}")


def files_of(corpus: Path, flag: str) -> list[Path]:
    """Return the files of a corpus: itself, those of a folder, or those of a saved data set.

    Raises:
        InputError: as `text_files`.
    """
    if is_saved(corpus):
        return sorted(path for path in saved_folder(corpus, flag).iterdir() if path.is_file())
    return text_files(corpus, flag) if os.path.isdir(corpus) else [corpus]


def corpus_hash(spec: str | Path, flag: str) -> str | None:
    """Return the SHA-256 of a file, or one of the SHA-256s of a folder's files; None for a hub data set.

    Raises:
        InputError: the files cannot be read.
    """
    corpus = parse_specification(spec)
    if isinstance(corpus, HubDataset):
        return None
    hashes = [_hash(path, flag) for path in files_of(corpus, flag)]
    return hashes[0] if corpus.is_file() else hashlib.sha256("".join(hashes).encode()).hexdigest()


def first_rows(rows: Dataset, most: int | None) -> Dataset:
    """Return the first `most` rows of a data set, or all of them where `most` is None or larger."""
    return rows if most is None or most >= len(rows) else rows.select(range(most))


def hub_options(corpus: HubDataset, options: TextOptions) -> TextOptions:
    """Return the options with the column that the name of the data set ends in, if it names one."""
    return replace(options, column=corpus.column) if corpus.column else options


def no_text(corpus: Path | HubDataset, flag: str) -> InputError:
    """Return the error for a corpus without text."""
    where = corpus.id if isinstance(corpus, HubDataset) else corpus
    return InputError(f"{flag}: {where} holds no text (empty or blank lines only); give a file with text")


def _key(corpus: Path | HubDataset, options: TextOptions, max_texts: int | None) -> str:
    """Return the key of the texts in the cache: everything that decides what is read."""
    if isinstance(corpus, HubDataset):
        parts = ["hub", hub_key(corpus, options.flag), hub_options(corpus, options).column]
    else:
        parts = [part for path in files_of(corpus, options.flag) for part in _key_parts(path, options)]
    if max_texts is not None:
        parts.append(f"first {max_texts}")
    return "texts-" + hashlib.sha256("\0".join([RECIPE, *parts]).encode()).hexdigest()[:32]


def _key_parts(path: Path, options: TextOptions) -> list[str]:
    form = form_of(path, options)
    compression = compression_of(path)
    column = options.column if form in (JSONL, TABLE, PARQUET) else ""
    suffix = compression.suffix.removeprefix(".") if compression else ""
    return [_hash(path, options.flag), suffix, column, IN_KEY.get(form, form)]


def _hash(path: Path, flag: str) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise unreadable(path, flag, error) from None


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
