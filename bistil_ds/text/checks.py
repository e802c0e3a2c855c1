"""Check the corpora of a run before anything else starts."""

from __future__ import annotations

import filecmp
from pathlib import Path

from datasets import load_dataset_builder

from bistil_ds.errors import InputError
from bistil_ds.text.specification import HubDataset, parse_specification
from bistil_ds.text.text_files import is_jsonl, is_readable_plain_text, read_texts


def check_text_file(spec: str | Path, flag: str, text_column: str = "text") -> None:
    """Check that a file holds readable text, or that the hub has a data set.

    A good file is read once from end to end, and nothing is written for it.

    Raises:
        InputError: the file is missing, a folder, without text, not UTF-8 or broken gzip; a JSONL line has no text; the
            data set is neither on the hub nor in the cache; or its description lacks the split or the column. The
            message starts with `flag` and, where possible, names the line.
    """
    corpus = parse_specification(spec)
    if isinstance(corpus, HubDataset):
        _check_hub(corpus, flag, text_column)
    elif is_jsonl(corpus) or not is_readable_plain_text(corpus, flag):
        count = sum(1 for _ in read_texts(corpus, text_column, flag))
        if not count:
            raise InputError(f"{flag}: {corpus} holds no text (empty or blank lines only); give a file with text")


def _check_hub(corpus: HubDataset, flag: str, text_column: str) -> None:
    try:
        info = load_dataset_builder(corpus.id, corpus.config).info
    except Exception as error:
        raise hub_error(corpus, flag, error) from None
    if info.splits and corpus.split not in info.splits:
        raise InputError(f"{flag}: data set {corpus.id} has no split {corpus.split!r}; it has {', '.join(info.splits)}")
    if info.features and text_column not in info.features:
        columns = ", ".join(info.features)
        raise InputError(f"{flag}: data set {corpus.id} has no column {text_column!r} (it has {columns})")


def hub_error(corpus: HubDataset, flag: str, error: Exception) -> InputError:
    """Return a one-line error for any exception of `datasets`, which raises many types for missing data or network."""
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{flag}: no file {corpus.id}, and as a hub data set it cannot be loaded: {first_line}")


def check_two_languages(
    source: str | Path, target: str | Path, flags: tuple[str, str] = ("--source_file", "--target_file")
) -> None:
    """Raise InputError if two corpora are the same file or hub data set, or are files with identical content.

    Each corpus must have passed `check_text_file` before.
    """
    first, second = parse_specification(source), parse_specification(target)
    same = first == second
    if isinstance(first, Path) and isinstance(second, Path):
        same = first.samefile(second) or filecmp.cmp(first, second, shallow=False)
    if same:
        raise InputError(
            f"{flags[0]} {source} and {flags[1]} {target} are the same text; give the text of two different languages"
        )


def check_chunks(count: int, needed: int, what: str) -> None:
    """Raise InputError if `count`, the training chunks of a corpus, is below `needed`, those of one batch.

    Args:
        what: the corpus and the flag that named it, such as `--target_file tr.txt`, for the message.
    """
    if count < needed:
        raise InputError(
            f"{what} gives {count} training chunks but one batch needs {needed}; "
            "give more text, a smaller batch or a shorter --max_length"
        )
