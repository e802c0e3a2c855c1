"""Stream records with named columns from a TSV file with a header, a JSONL file, or a hub data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.readers.columns import OtherNames, find_columns
from bistil_ds.tasks.readers.hub import hub_rows
from bistil_ds.tasks.readers.json_values import parse_json
from bistil_ds.tasks.readers.lines import at_least_one, lines, quote
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.form import is_jsonl
from bistil_ds.text.specification import HubDataset, parse_specification

Record = tuple[Place, str, dict[str, Any]]


def records(source: str, options: ReadOptions, wanted: OtherNames) -> Iterator[Record]:
    """Yield for each record its place, what messages call it, and its values under our names of the `wanted` columns.

    TSV columns are separated by tabs, and quote characters are plain text. Empty lines are skipped. In JSONL (`.jsonl`,
    `.json`) all objects must have the column names that are found in the first one.

    Raises:
        InputError: the file cannot be read or has no record; the header lacks a wanted column; or a line has more or
            fewer columns than the header, is not a JSON object, or lacks a wanted column.
    """
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset):
        yield from hub_rows(corpus, options, wanted)
        return
    kind, read = ("JSONL, one object a line", _jsonl) if is_jsonl(corpus) else ("a TSV header and rows", _tsv)
    message = f"{options.flag}: {corpus} has no rows; expected {kind} with {', '.join(wanted)}"
    yield from at_least_one(read(corpus, options, wanted), message)


def _tsv(path: Path, options: ReadOptions, wanted: OtherNames) -> Iterator[Record]:
    header: list[str] = []
    position: dict[str, int] = {}
    for number, line in lines(path, options.flag):
        where = f"{options.flag}: {path}, line {number}"
        cells = line.split("\t")
        if not header:
            header = cells
            position = {ours: header.index(theirs) for ours, theirs in _of_header(header, options, wanted, where)}
        elif line:
            if len(cells) != len(header):
                raise InputError(
                    f"{where}: {len(cells)} tab-separated columns ({quote(line)}); the header has {len(header)}"
                )
            yield Place(str(path), number), where, {ours: cells[index] for ours, index in position.items()}


def _of_header(header: list[str], options: ReadOptions, wanted: OtherNames, where: str) -> list[tuple[str, str]]:
    try:
        return list(find_columns(wanted, header, options, where).items())
    except InputError as error:
        raise InputError(f"{error}; the first line is the header, its names parted by tabs") from None


def _jsonl(path: Path, options: ReadOptions, wanted: OtherNames) -> Iterator[Record]:
    columns: dict[str, str] = {}
    for number, line in lines(path, options.flag):
        if not line.strip():
            continue
        where = f"{options.flag}: {path}, line {number}"
        value = parse_json(line, where)
        if not isinstance(value, dict):
            raise InputError(f"{where}: {quote(line)} is no object; expected one a line with {', '.join(wanted)}")
        columns = columns or find_columns(wanted, list(value), options, where)
        for theirs in columns.values():
            if theirs not in value:
                raise InputError(f"{where}: no key {theirs}, which the first object has")
        yield Place(str(path), number), where, {ours: value[theirs] for ours, theirs in columns.items()}
