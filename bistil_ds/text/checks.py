"""Check the corpora of a run before anything else starts."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.text.corpus import corpus_hash, corpus_texts, files_of, hub_options, no_text, saved_texts
from bistil_ds.text.folders import is_saved
from bistil_ds.text.form import PLAIN, form_of
from bistil_ds.text.hub import check_hub
from bistil_ds.text.options import TextOptions
from bistil_ds.text.specification import HubDataset, parse_texts
from bistil_ds.text.text_files import is_readable_plain_text


def check_text_file(spec: str | Path, flag: str, text_column: str = "text", max_texts: int | None = None) -> None:
    """Check that a file or folder holds readable text, or that the hub has a data set.

    Nothing is written. With `max_texts`, only the first `max_texts` texts are read.

    Raises:
        InputError: a file is missing, has no text, is not UTF-8, is broken or is of an unknown form; a line or row has
            no text; or the data set is neither on the hub nor in the cache, or lacks the split or the column according
            to its description. The message starts with `flag` and, where possible, names the line.
    """
    corpus, options = parse_texts(spec, TextOptions(flag, text_column))
    if isinstance(corpus, HubDataset):
        check_hub(corpus, hub_options(corpus, options))
        return
    if is_saved(corpus):
        saved_texts(corpus, options)
        return
    if max_texts is None and all(_is_readable(path, options) for path in files_of(corpus, flag)):
        return
    if not sum(1 for _ in corpus_texts(corpus, options, max_texts)):
        raise no_text(corpus, flag)


def _is_readable(path: Path, options: TextOptions) -> bool:
    return form_of(path, options) == PLAIN and is_readable_plain_text(path, options.flag)


def check_different(corpora: Mapping[str, str | Path]) -> None:
    """Raise InputError if two corpora are the same file, folder or hub data set, or are files with identical content.

    Args:
        corpora: how the user named the corpus, such as `--source_file en.txt` → the corpus. Each must have passed
            `check_text_file` before.
    """
    for (first, one), (second, other) in combinations(corpora.items(), 2):
        if _are_same(*(parse_texts(spec, TextOptions(name))[0] for name, spec in ((first, one), (second, other)))):
            raise InputError(f"{first} and {second} are the same text; give each language a text of its own")


def _are_same(one: Path | HubDataset, other: Path | HubDataset) -> bool:
    if not isinstance(one, Path) or not isinstance(other, Path):
        return one == other
    if one.is_file() and other.is_file():
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    return corpus_hash(one, str(one)) == corpus_hash(other, str(other))


def check_chunks(count: int, needed: int, what: str) -> None:
    """Raise InputError if a corpus has fewer training chunks (`count`) than one batch needs (`needed`).

    Args:
        what: the corpus and the flag that named it, such as `--target_file tr.txt`, for the message.
    """
    if count < needed:
        raise InputError(
            f"{what} gives {count} training chunks but one batch needs {needed}; "
            "give more text, a smaller batch or a shorter --max_length"
        )
