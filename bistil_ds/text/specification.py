"""Parse how a user names corpora: by language, as files or folders, or as data sets on the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import DatasetDict, IterableDatasetDict

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError
from bistil_ds.text.compression import SUFFIXES
from bistil_ds.text.folders import is_saved
from bistil_ds.text.form import NAMES
from bistil_ds.text.options import TextOptions

FILE_SUFFIXES = (*NAMES, *SUFFIXES, ".conllu", ".conll", ".iob2", ".bio")
PREFIX = "hf:"
PLAIN_PREFIX = "plain:"
# an id and, optionally, config, split (perhaps with a slice) and column
PARTS = r"(?P<id>{})(:(?P<config>[^:]*))?(:(?P<split>[\w.+-]*(\[[\w:%-]*\][\w.+-]*)?))?(:(?P<column>[^:]*))?"
HUB_ID = re.compile(PARTS.format(r"\w[\w.-]*/\w[\w.-]*"))
PREFIXED = re.compile(PREFIX + PARTS.format(r"[^:]+"))


@dataclass(frozen=True)
class HubDataset:
    """A data set that the library `datasets` loads: one on the Hugging Face hub, or a folder that it can read.

    Args:
        id: `org/name`, a name, or a folder.
        config: its configuration; None if it has only one.
        split: its split, perhaps with a slice, such as `train[:1000]`.
        column: the column of its texts, if the specification names one.
    """

    id: str
    config: str | None
    split: str
    column: str | None = None


def parse_specification(spec: str | Path) -> Path | HubDataset:
    """Return `spec` as a path, or as a data set `org/name[:config[:split[:column]]]` (default split: `train`).

    With `hf:` in front, a data set may have any name. Without it, `spec` is a path if that path exists, if it ends in
    one of `FILE_SUFFIXES`, or if it does not have the form of a hub data set.
    """
    path = user_path(spec)
    if os.path.exists(path):
        return path
    match = PREFIXED.fullmatch(str(spec)) or (
        None if path.suffix.lower() in FILE_SUFFIXES else HUB_ID.fullmatch(str(spec))
    )
    if match is None:
        return path
    return HubDataset(match["id"], match["config"] or None, match["split"] or "train", match["column"] or None)


def parse_texts(spec: str | Path, options: TextOptions) -> tuple[Path | HubDataset, TextOptions]:
    """Return the corpus as `parse_specification` does, and the options.

    `plain:` in front of a file or folder sets `options.plain`: each line is a text, whatever it looks like.

    Raises:
        InputError: `spec` is neither a string nor a path; or `plain:` stands in front of a data set: one with `hf:`, a
            folder that `save_to_disk` wrote, or the id of one on the hub where no such file is.
    """
    if not isinstance(spec, str | os.PathLike):
        advice = 'give a file, or a Dataset such as Dataset.from_dict({"text": texts}) makes'
        if isinstance(spec, DatasetDict | IterableDatasetDict):
            advice = "give one split of it, such as ds['train']"
        raise InputError(f"{options.flag}: a value of type {type(spec).__name__} cannot be read; {advice}")
    bare = str(spec).removeprefix(PLAIN_PREFIX)
    if bare == str(spec) or os.path.exists(spec):
        return parse_specification(spec), options
    path = user_path(bare)
    if is_saved(path) or (bare.startswith(PREFIX) and not os.path.exists(path)):
        raise InputError(f"{options.flag}: {spec} is a data set, whose texts are no lines of a file; give it as {bare}")
    if isinstance(parse_specification(bare), HubDataset):
        raise InputError(
            f"{options.flag}: {spec}: there is no file {bare}, and before a hub data set goes no {PLAIN_PREFIX}; "
            f"give the data set as {bare}, or a file that exists"
        )
    return path, replace(options, plain=True)


def expanded(source: str) -> str:
    """Return a source with the user's folder in place of `~`, which may stand behind `plain:`."""
    bare = source.removeprefix(PLAIN_PREFIX)
    return source.removesuffix(bare) + os.path.expanduser(bare)


def parse_by_language(words: Sequence[str], flag: str, example: str) -> dict[str, str]:
    """Return language → value, in the order of the words, each of which is `LANGUAGE=VALUE`.

    Args:
        example: a word as it should be, such as `tr=tr.txt`, for messages.

    Raises:
        InputError: a word has another form, or two words name one language.
    """
    found: dict[str, str] = {}
    for word in words:
        language, _, value = word.partition("=")
        if not language.strip() or not value:
            raise InputError(f"{flag} {word}: expected a language and what it has, such as {example}")
        if language in found:
            raise InputError(f"{flag}: {language} is given twice; give each language once, such as {example}")
        found[language] = value
    return found
