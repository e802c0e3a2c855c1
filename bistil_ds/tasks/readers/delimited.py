"""Read tables from text: columns separated by tabs, commas or semicolons, with or without a header.

The first line decides how a table is read. Plain cells between tabs are tried first; quote characters in them are text,
as in GLUE, XNLI and PAWS-X. If the header is quoted, or commas or semicolons separate its names, cells may be quoted,
and quoted cells may hold anything (RFC 4180).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.readers.columns import LANGUAGE, OtherNames, check_names, find_columns
from bistil_ds.tasks.readers.lines import lines, quote
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.text_files import quoted_rows

# (name in messages, separator, whether cells may be quoted), in the order in which they are tried
DIALECTS = (("tab", "\t", False), ("tab", "\t", True), ("comma", ",", True), ("semicolon", ";", True))
Cells = Mapping[str, str]


class _Table(NamedTuple):
    """The form of a table.

    Attributes:
        separator: the character between two cells.
        quoted: whether cells may be quoted.
        header: whether the first line is a header.
        width: number of cells in a row.
        position: our name of each column → its position, from 0.
    """

    separator: str
    quoted: bool
    header: bool
    width: int
    position: Mapping[str, int]


def table_rows(
    path: Path, options: ReadOptions, wanted: OtherNames, is_row: Callable[[Cells], bool]
) -> Iterator[tuple[int, str, Cells]]:
    """Yield for each row its line number, its place for messages, and its cells by our column names; skip empty lines.

    The table has no header in two cases. In the first, `options.columns` gives column numbers, counted from 1. In the
    second, `options.columns` is empty, the first line has as many cells as `wanted` has names, and `is_row` accepts
    these cells under those names, in order. If quotes are text in this table, a Notice counts the rows with a cell that
    stands in quotes and has doubled quotes inside, as CSV writes a cell with quotes.

    Raises:
        InputError: the file cannot be read; the first line is neither a header with the wanted columns nor a row; or a
            row has more or fewer cells than the first line has.
    """
    name = f"{options.flag}: {path}"
    numbered = lines(path, options.flag)
    first = next(((number, line) for number, line in numbered if line), None)
    if first is None:
        return
    table = _table_of(first, options, wanted, is_row, name)
    kind = next(what for what, separator, _ in DIALECTS if separator == table.separator)
    rest = numbered if table.header else chain([first], numbered)
    doubled, first_doubled = 0, ""
    for number, cells in _split(rest, table.separator, table.quoted, name):
        where = f"{name}, line {number}"
        if not table.quoted and any(map(_is_quoted, cells)):
            doubled, first_doubled = doubled + 1, first_doubled or where
        if len(cells) != table.width:
            shown = quote(table.separator.join(cells))
            above = "header" if table.header else "first row"
            raise InputError(f"{where}: {len(cells)} {kind}-separated columns ({shown}); the {above} has {table.width}")
        yield number, where, {ours: cells[at] for ours, at in table.position.items()}
    if doubled:
        found = f'{first_doubled}: a cell has doubled quotes, as CSV writes "", and was read as it stands'
        advice = "if it is CSV, put the names of the columns in quotes, too"
        warnings.warn(f"{found} (rows like this: {doubled}); {advice}", Notice, stacklevel=2)


def _table_of(
    first: tuple[int, str], options: ReadOptions, wanted: OtherNames, is_row: Callable[[Cells], bool], name: str
) -> _Table:
    """Return the form of the table that begins with the numbered line `first`."""
    where, refused = f"{name}, line {first[0]}", ""
    numbers = {ours: int(at) for ours, at in options.columns.items() if at.isdecimal() and len(at) < 5}
    check_names(options, (*wanted, LANGUAGE))
    for _, separator, quoted in DIALECTS:
        try:
            ((_, cells),) = _split([first], separator, quoted, name)
            if numbers.keys() >= wanted.keys():
                if 1 <= min(numbers.values()) <= max(numbers.values()) <= len(cells):
                    return _Table(separator, quoted, False, len(cells), {ours: at - 1 for ours, at in numbers.items()})
                raise InputError(
                    f"{where}: --columns has numbers up to {max(numbers.values())}, of {len(cells)} columns"
                )
            if len(cells) == len(wanted) and not options.columns and is_row(dict(zip(wanted, cells))):
                return _Table(separator, quoted, False, len(cells), {ours: at for at, ours in enumerate(wanted)})
            columns = find_columns(wanted, cells, options, where)
            places = {ours: cells.index(theirs) for ours, theirs in columns.items()}
            return _Table(separator, quoted, True, len(cells), places)
        except InputError as error:
            refused = refused or str(error)
    example = " ".join(f"{ours}={at}" for at, ours in enumerate(wanted, 1))
    raise InputError(f"{refused}; the first line is the header; where there is none, give numbers: --columns {example}")


def _split(
    numbered: Iterable[tuple[int, str]], separator: str, quoted: bool, name: str
) -> Iterator[tuple[int, list[str]]]:
    """Return (number of the line on which the row begins, its cells) for each row that is not empty."""
    if quoted:
        return quoted_rows(iter(numbered), separator, name)
    return ((number, line.split(separator)) for number, line in numbered if line)


def _is_quoted(cell: str) -> bool:
    """Return whether a cell is in quotes and has its inner quotes doubled, as in CSV: `"She said ""yes""."`."""
    inner = cell[1:-1]
    return '""' in inner and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
