"""Read a corpus (a file, a folder or a data set) one text at a time, and hash its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from datasets import Dataset

from bistil_ds.errors import InputError
from bistil_ds.runs.findings import hash_once
from bistil_ds.text.compression import compression_of, unreadable
from bistil_ds.text.folders import is_saved, load_saved, saved_folder, text_files
from bistil_ds.text.form import JSONL, PARQUET, TABLE, TSV, form_of
from bistil_ds.text.hub import only_texts, stream_texts
from bistil_ds.text.options import TextOptions
from bistil_ds.text.specification import HubDataset, parse_texts
from bistil_ds.text.text_files import numbered_texts


def corpus_texts(corpus: Path | HubDataset, options: TextOptions, max_texts: int | None = None) -> Iterator[str]:
    """Yield the texts of a file, a folder of files or a data set, in order, one at a time; leave out blank texts.

    Raises:
        InputError: the corpus cannot be read.
    """
    texts = (text for _, _, text in located_texts(corpus, options) if text.strip())
    return islice(texts, max_texts)


def located_texts(corpus: Path | HubDataset, options: TextOptions) -> Iterator[tuple[str, int, str]]:
    """Yield (file or data set, number of the line or row, text) for each text of a corpus; a text may be blank.

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
    """Return the files of a corpus: the corpus itself if it is a file, else the files of the folder or saved data set.

    Raises:
        InputError: `text_files` or `saved_folder` raises it.
    """
    if is_saved(corpus):
        return sorted(path for path in saved_folder(corpus, flag).iterdir() if path.is_file())
    return text_files(corpus, flag) if os.path.isdir(corpus) else [corpus]


def corpus_hash(spec: str | Path, flag: str) -> str | None:
    """Return the SHA-256 of a file, or of the joined SHA-256s of a folder's files, in hex; None for a hub data set.

    Raises:
        InputError: the files cannot be read.
    """
    corpus, _ = parse_texts(spec, TextOptions(flag))
    if isinstance(corpus, HubDataset):
        return None
    hashes = [hash_of(path, flag) for path in files_of(corpus, flag)]
    return hashes[0] if corpus.is_file() else hashlib.sha256("".join(hashes).encode()).hexdigest()


def readings(spec: str | Path, flag: str, column: str) -> list[dict[str, Any]] | None:
    """Return how the files of a corpus are read, in their order; None for a hub data set.

    With the bytes of the files, this decides which texts they give. Each entry holds for `files` files, one after
    another, and has their `form`, `compression` and `column`.

    Raises:
        InputError: the files cannot be read.
    """
    corpus, options = parse_texts(spec, TextOptions(flag, column))
    if isinstance(corpus, HubDataset):
        return None
    files = files_of(corpus, flag)
    found = [("saved", "", column)] * len(files) if is_saved(corpus) else [reading_of(path, options) for path in files]
    return [
        {"files": sum(1 for _ in same), "form": form, "compression": suffix, "column": column}
        for (form, suffix, column), same in groupby(found)
    ]


def reading_of(path: Path, options: TextOptions) -> tuple[str, str, str]:
    """Return how a file is read: its form, the ending of its compression, and its column; "" for what it lacks.

    Raises:
        InputError: from `form_of`.
    """
    form, compression = form_of(path, options), compression_of(path)
    suffix = compression.suffix.removeprefix(".") if compression else ""
    return form, suffix, options.column if form in (JSONL, TABLE, TSV, PARQUET) else ""


def hub_options(corpus: HubDataset, options: TextOptions) -> TextOptions:
    """Return the options; if the data set's specification names a column, that column replaces theirs."""
    return replace(options, column=corpus.column) if corpus.column else options


def no_text(corpus: Path | HubDataset, flag: str) -> InputError:
    """Return the error for a corpus without text."""
    where = corpus.id if isinstance(corpus, HubDataset) else corpus
    return InputError(f"{flag}: {where} holds no text (empty or blank lines only); give a file with text")


def hash_of(path: Path, flag: str) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return hash_once(path)
    except OSError as error:
        raise unreadable(path, flag, error) from None
