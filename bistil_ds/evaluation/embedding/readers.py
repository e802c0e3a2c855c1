"""Read parallel files, and pairs of sentences with a score of their similarity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.columns import check_names
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.corpus import located_texts
from bistil_ds.text.options import DEFAULT_COLUMN, TextOptions
from bistil_ds.text.specification import PLAIN_PREFIX, expanded, parse_texts

SCORED_COLUMNS = {
    "sentence1": ("sentence_A", "text1"),  # sentence_A and relatedness_score: SICK
    "sentence2": ("sentence_B", "text2"),
    "score": ("label", "similarity_score", "relatedness_score"),  # label: STS-B as GLUE has it
}


class Pair(NamedTuple):
    """Two sentences: translations of each other, or with a score that people gave their similarity."""

    first: str
    second: str
    score: float = math.nan


def parallel_files(source: str) -> tuple[str, str] | None:
    """Return the two files of `FILE,FILE`; None if there is no comma, or if a file has this name."""
    if "," not in source or Path(source.removeprefix(PLAIN_PREFIX)).exists():
        return None
    commas = [at for at, character in enumerate(source) if character == ","]
    splits = [(source[:at], expanded(source[at + 1 :])) for at in commas]
    there = [each for each in splits if all(Path(file.removeprefix(PLAIN_PREFIX)).exists() for file in each)]
    return (there or splits)[0]


def read_parallel(files: tuple[str, str], options: ReadOptions) -> list[Pair]:
    """Return the pairs of two files, in any form that phase 1 reads; text i of one is the translation of text i.

    Pairs of two blank texts are left out.

    Raises:
        InputError: a file cannot be read, the files have different numbers of texts or no text at all, or one text of a
            pair is blank.
    """
    check_names(options, (DEFAULT_COLUMN,))
    first, second = (_texts(file, options) for file in files)
    if len(first) != len(second):
        raise InputError(
            f"{options.flag} {','.join(files)}: the first has {len(first):,} texts, the second {len(second):,}; "
            "expected a translation for each"
        )
    pairs = []
    for (place, one), (other_place, other) in zip(first, second):
        if bool(one.strip()) != bool(other.strip()):
            blank, full = (place, other_place) if other.strip() else (other_place, place)
            raise InputError(f"{options.flag}: {blank} is blank, but not {full}, its translation")
        if one.strip():
            pairs.append(Pair(one, other))
    if not pairs:
        raise InputError(f"{options.flag} {','.join(files)}: holds no texts; give two files with text")
    return pairs


def read_scored(source: str, options: ReadOptions) -> list[Pair]:
    """Return the pairs of a table, of JSON or of a hub data set, with columns like `SCORED_COLUMNS`.

    Raises:
        InputError: `records` raises it; a sentence is blank; a score is no number; or all scores are equal.
    """
    pairs = []
    for _, where, record in records(source, options, SCORED_COLUMNS, lambda cells: _number(cells["score"]) is not None):
        sentences = (text_at(record, column, where) for column in ("sentence1", "sentence2"))
        pairs.append(Pair(*sentences, number_at(record, "score", where)))
    if len({pair.score for pair in pairs}) == 1:
        raise InputError(f"{options.flag} {source}: all scores are {pairs[0].score:g}; expected different ones to rank")
    return pairs


def number_at(record: dict[str, Any], column: str, where: str) -> float:
    """Return the number in a column.

    Raises:
        InputError: it is no finite number.
    """
    found = _number(record[column])
    if found is None:
        raise InputError(f"{where}: {column} is {quote(record[column])}; expected a number")
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _texts(file: str, options: ReadOptions) -> list[tuple[str, str]]:
    """Return (place, text) for each text of a file, also for blank ones, but not for blank ones at its end."""
    corpus, plain = parse_texts(file, TextOptions(options.flag, options.columns.get(DEFAULT_COLUMN, DEFAULT_COLUMN)))
    found = [(f"{name}, line {number}", text) for name, number, text in located_texts(corpus, plain)]
    while found and not found[-1][1].strip():
        found.pop()
    return found
