"""Parallel text: pairs of texts that mean the same, from two files with as many lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.text.corpus import located_texts
from bistil_ds.text.options import DEFAULT_COLUMN, TextOptions
from bistil_ds.text.specification import expanded, parse_texts

EXAMPLE = "en-de=en.txt,de.txt"

Parallel = tuple[str, str, str]  # name, source file, file of its translations


@dataclass(frozen=True, slots=True)
class ParallelTexts:
    """A text, and the source that it translates; `place` is the translation's."""

    source: str
    text: str
    place: Place


def parse_parallel(words: Sequence[str] | None, flag: str) -> tuple[Parallel, ...]:
    """Return (name, source, translations) for each word NAME=SOURCE,TRANSLATIONS; the two are files.

    Raises:
        InputError: a word has another form, or two words have one name.
    """
    found: list[Parallel] = []
    for word in words or ():
        name, equals, files = word.partition("=")
        parts = files.split(",")
        if not name.strip() or not equals or len(parts) != 2 or not all(part.strip() for part in parts):
            raise InputError(f"{flag} {word}: expected a name and two parallel files, such as {EXAMPLE}")
        if name in [one for one, _, _ in found]:
            raise InputError(f"{flag}: {name} is given twice; give each pair of files once, such as {EXAMPLE}")
        found.append((name, expanded(parts[0]), expanded(parts[1])))
    return tuple(found)


def read_parallel(source: str, translations: str, flag: str) -> Iterator[ParallelTexts]:
    """Yield the pairs of two files, line by line; leave out pairs with a blank side.

    Raises:
        InputError: a file cannot be read, the two have different numbers of texts, or no pair has two texts.
    """
    counts, empty = [0, 0], True
    for ours, theirs in zip_longest(_texts(source, flag), _texts(translations, flag)):
        counts = [counts[0] + (ours is not None), counts[1] + (theirs is not None)]
        if ours and theirs and ours[2].strip() and theirs[2].strip():
            empty = False
            yield ParallelTexts(ours[2], theirs[2], Place(theirs[0], theirs[1]))
    if counts[0] != counts[1]:
        raise InputError(
            f"{flag}: {source} has {counts[0]:,} texts and {translations} has {counts[1]:,}; give parallel files, with "
            "one text a line in each"
        )
    if empty:
        raise InputError(f"{flag}: {source} and {translations} hold no pair of texts (blank lines only)")


def _texts(source: str, flag: str) -> Iterator[tuple[str, int, str]]:
    wanted = TextOptions(flag, advice=f"call it {DEFAULT_COLUMN!r}")
    corpus, options = parse_texts(Path(source) if Path(source).exists() else source, wanted)
    yield from located_texts(corpus, options)
