"""Read texts from files of every form, with errors that name the line."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.runs.bounded import LONGEST_LINE, bounded_lines, parse_json
from bistil_ds.text.compression import opened
from bistil_ds.text.form import (
    EXTRACTED,
    JSONL,
    PARQUET,
    PLAIN,
    TABLE,
    TSV,
    csv_rows,
    find_delimiter,
    form_of,
    split_header,
)
from bistil_ds.text.options import TextOptions, check_text, choose_column, listed
from bistil_ds.text.parquet import parquet_texts

BLOCK_BYTES = 1 << 18  # such blocks fit the processor's cache, and are decoded twice as fast as blocks of 16 MB

Numbered = Iterator[tuple[int, str]]


def numbered_lines(path: Path, flag: str, longest: int | None = None) -> Numbered:
    """Yield (line number from 1, text without line end and byte order mark) for each line.

    Raises:
        InputError: the file cannot be read; or a line is not UTF-8, has a NUL character, or has more than `longest`
            bytes (default: LONGEST_LINE). The message starts with `flag`.
    """
    with opened(path, flag) as file:
        for number, line in enumerate(bounded_lines(file, f"{flag}: {path}", longest or LONGEST_LINE), 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise InputError(
                    f"{flag}: {path}, line {number} is not UTF-8 (byte 0x{byte:02x}); convert it, with iconv say"
                ) from None
            if number == 1:
                text = text.removeprefix("\ufeff")
            if "\0" in text:
                raise InputError(f"{flag}: {path}, line {number} has a NUL: UTF-16 or no text; convert it to UTF-8")
            yield number, text.rstrip("\r\n")


def numbered_texts(path: Path, options: TextOptions) -> Numbered:
    """Yield (line number, text) for each text of a file, in order, also for blank texts; Parquet has row numbers.

    Raises:
        InputError: the file or one of its texts cannot be read; the message names the line.
    """
    yield from READERS[form_of(path, options)](path, options)


def _plain(path: Path, options: TextOptions) -> Numbered:
    return numbered_lines(path, options.flag)


def _extracted(path: Path, options: TextOptions) -> Numbered:
    """Yield the lines of a WikiExtractor file, except the lines `<doc id="…">` and `</doc>` around each article."""
    for number, line in numbered_lines(path, options.flag):
        if not line.startswith(("<doc ", "</doc>")):
            yield number, line


def _jsonl(path: Path, options: TextOptions) -> Numbered:
    column = ""
    for number, line in numbered_lines(path, options.flag):
        if not line.strip():
            continue
        where = f"{options.flag}: {path}, line {number}"
        record = _object(line, options, where)
        column = column or choose_column(record, options, where)
        if column != options.column and sum(isinstance(value, str) for value in record.values()) > 1:
            raise InputError(f"{where} has other columns of strings beside {column!r}; {options.advice}")
        if column not in record:
            raise InputError(f"{where} has no column {column!r} (it has {listed(record)}); {options.advice}")
        value = record[column]
        yield number, "" if value is None else check_text(value, column, options, where)


def _object(line: str, options: TextOptions, where: str) -> dict[str, object]:
    try:
        record = parse_json(line, finite=False)
    except ValueError:
        raise InputError(f"{where} is not JSON; expected one object a line, as jq -c writes it") from None
    if not isinstance(record, dict):
        expected = f'{{"{options.column}": "..."}}'
        raise InputError(f"{where} is not an object; expected {expected} a line, as jq -c '.[]' writes a list")
    return record


def _table(path: Path, options: TextOptions, tabs: bool = False) -> Numbered:
    """Yield the text column of a table with a header: tab-separated values (always if `tabs`), or CSV.

    Between tabs, quotes are plain characters. There, a header with quoted names raises InputError, and so do a cell
    that stands in quotes and has doubled quotes inside, and a line of one cell that begins with an unmatched quote: it
    may be the first line of a quoted cell.
    """
    lines = numbered_lines(path, options.flag)
    number, header = next(((number, line) for number, line in lines if line.strip()), (1, ""))
    where = f"{options.flag}: {path}, line {number}"
    delimiter = "\t" if tabs else find_delimiter(header, options.column) or ","
    names = split_header(header, delimiter)
    if delimiter == "\t" and any(name.startswith('"') for name in names):
        raise InputError(f"{where} has quoted columns; write them without quotes, or parted by commas as CSV")
    if options.column not in names:
        raise InputError(
            f"{where} names the columns, but none {options.column!r} (it has {listed(names)}); {options.advice}"
        )
    if names.count(options.column) > 1:
        raise InputError(f"{where} names the column {options.column!r} twice; rename one")
    index = names.index(options.column)
    for number, cells in (_tabbed if delimiter == "\t" else quoted_rows)(lines, delimiter, f"{options.flag}: {path}"):
        if len(cells) != len(names):
            raise InputError(f"{options.flag}: {path}, line {number} has {len(cells)} columns; the header {len(names)}")
        yield number, cells[index]


def _tabbed(lines: Numbered, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        if not line:
            continue
        cells = line.split(delimiter)
        if any(len(cell) > 1 and cell[0] == cell[-1] == '"' and '""' in cell[1:-1] for cell in cells):
            raise InputError(f"{where}, line {number} is quoted as CSV; write it as CSV or without quotes")
        if len(cells) == 1 and line.startswith('"') and line.count('"') % 2:
            raise InputError(
                f"{where}, line {number} begins with a quote that it does not end; write cells of several lines as "
                "CSV, or texts without the quote"
            )
        yield number, cells


def quoted_rows(lines: Numbered, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the line on which the row begins, its cells) for each row of CSV that is not empty.

    Raises:
        InputError: a quote is out of place; the message begins with `where` and the line.
    """
    begins = 0

    def ended() -> Iterator[str]:  # the line ends are put back: a quoted cell may hold some
        nonlocal begins
        for number, line in lines:
            begins = begins or number
            yield line + "\n"

    rows = csv_rows(ended(), delimiter, strict=True)
    while True:
        begins = 0
        try:
            cells = next(rows, None)
        except csv.Error as error:
            raise InputError(f"{where}, line {begins} is not CSV ({error}); write it with a CSV library") from None
        if cells is None:
            return
        if cells:
            yield begins, cells


READERS: dict[str, Callable[[Path, TextOptions], Numbered]] = {
    PLAIN: _plain,
    JSONL: _jsonl,
    TABLE: _table,
    TSV: partial(_table, tabs=True),
    EXTRACTED: _extracted,
    PARQUET: parquet_texts,
}


def is_readable_plain_text(path: Path, flag: str) -> bool:
    """Return whether the file is UTF-8 without a NUL, is not blank, and has no line of over `LONGEST_LINE` bytes.

    Decoding large blocks is faster than reading lines, but cannot tell which line is wrong.

    Raises:
        InputError: the file cannot be opened or decompressed.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    blank, length = True, 0
    with opened(path, flag) as file:
        try:
            while block := file.read(BLOCK_BYTES):
                text = decoder.decode(block)
                length += (block.find(b"\n") + 1) or len(block)  # bytes, so far, of the line that the block continues
                if "\0" in text or length > LONGEST_LINE:
                    return False
                if end := block.rfind(b"\n") + 1:
                    length = len(block) - end
                blank = blank and not text.removeprefix("\ufeff").strip()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return not blank
