"""Stream records with named columns from a table (TSV, CSV), from JSON, or from a hub data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.readers.columns import LANGUAGE, OtherNames, find_columns
from bistil_ds.tasks.readers.delimited import table_rows
from bistil_ds.tasks.readers.hub import hub_rows
from bistil_ds.tasks.readers.json_documents import json_rows, looks_like_json
from bistil_ds.tasks.readers.language import LanguageFilter
from bistil_ds.tasks.readers.lines import at_least_one
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.specification import HubDataset, parse_specification

Record = tuple[Place, str, dict[str, Any]]


def records(
    source: str,
    options: ReadOptions,
    wanted: OtherNames,
    is_row: Callable[[Mapping[str, str]], bool] = lambda cells: False,
) -> Iterator[Record]:
    """Yield (place, name in messages, our name of each wanted column → value) for each record.

    See `table_rows` and `json_rows` for the forms of files. All JSON objects must name the columns as the first one
    does. If a column `language` or `lang` says the language of each record, only records in `options.language` are
    kept.

    Args:
        source: a file or hub data set.
        options: the language to keep, and the names of the columns in the data.
        wanted: our name of each column → its names in well-known data sets.
        is_row: tells a row from a header in a table; see `table_rows`.

    Raises:
        InputError: the source cannot be read or has no record; a wanted column is missing; or there are records, but
            none in the language.
    """
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset):
        found, name = hub_rows(corpus, options, wanted), f"{corpus.id}, split {corpus.split}"
    else:
        found, name = _of_file(corpus, options, wanted, is_row), str(corpus)
    chosen = LanguageFilter(options, f"{options.flag}: {name}")
    for place, where, record in found:
        if LANGUAGE not in record or chosen.keeps(record.pop(LANGUAGE), where):
            yield place, where, record
    chosen.check()


def _of_file(
    path: Path, options: ReadOptions, wanted: OtherNames, is_row: Callable[[Mapping[str, str]], bool]
) -> Iterator[Record]:
    if looks_like_json(path, options.flag):
        kind, rows = "JSON, one object a line or a list of them", _of_json(path, options, wanted)
    else:
        kind, rows = "a header and rows, parted by tabs or commas", table_rows(path, options, wanted, is_row)
    message = f"{options.flag}: {path} has no rows; expected {kind}, with {', '.join(wanted)}"
    for number, where, record in at_least_one(rows, message):
        yield Place(str(path), number), where, dict(record)


def _of_json(path: Path, options: ReadOptions, wanted: OtherNames) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    columns: dict[str, str] = {}
    for number, where, value in json_rows(path, options.flag):
        columns = columns or find_columns(wanted, list(value), options, where)
        for theirs in columns.values():
            if theirs not in value:
                raise InputError(f"{where}: no key {theirs}, which the first object has")
        yield number, where, {ours: value[theirs] for ours, theirs in columns.items()}
