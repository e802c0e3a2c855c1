"""Recognise the form in which a file holds its texts, by its first bytes and its name."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.runs.bounded import LONGEST_LINE
from bistil_ds.text.compression import SUFFIXES, compression_of, opened
from bistil_ds.text.options import TextOptions, listed

PLAIN, JSONL, TABLE, TSV, EXTRACTED, PARQUET = "plain", "jsonl", "table", "tsv", "extracted", "parquet"
BY_NAME = {
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".json": JSONL,
    ".csv": TABLE,
    ".tsv": TSV,
    ".parquet": PARQUET,
}
NAMES = (".txt", *BY_NAME)
HEAD_BYTES = 1 << 16  # bytes at a file's beginning that are examined
FIRST_LINES = 20  # lines that decide whether text without a header is refused as a table
DELIMITERS = ("\t", ",", ";", "|")

# `{"key":`, `{}`, or a brace that ends the line; without `*+`, each character of a key would take 175 bytes of memory
_OBJECT = r'\{\s*("(?:[^"\\]|\\.)*+"\s*:|\}\s*($|[,\]])|$)'
JSON_START = re.compile(rf"{_OBJECT}|\[\s*({_OBJECT}|$)")
EXTRACTED_START = re.compile(r'<doc (id|url|title)="')  # what WikiExtractor writes
MARKUP = re.compile(r"<(\?xml|!doctype|html|mediawiki)\b", re.IGNORECASE)
COLUMN_NAME = re.compile(r'"?\w[\w .:/-]*"?|')
ONE_WORD = re.compile(r'"?[^\W\d][\w.:/-]{0,39}"?')  # a column's name, unlike `3` in `3,14` or ` sir` in `Yes, sir`
QUOTED = re.compile(r'"([^"\\]|\\.|"")*"')
ESCAPE = re.compile(r'\\|""')  # inside a quoted string
PARQUET_START = b"PAR1"
FOREIGN = (  # first bytes, and what a file that begins with them is
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4; decompress it"),
    (b"ARROW1\0\0", "an Arrow file; give the folder that save_to_disk wrote, or save it as Parquet"),
    (b"%PDF-", "a PDF; extract its text"),
    *((each, "UTF-32; convert it: iconv -f UTF-32 -t UTF-8") for each in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
    *((each, "UTF-16; convert it: iconv -f UTF-16 -t UTF-8") for each in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
)
TAR_AT, TAR = 257, b"ustar"  # a tar archive has these bytes at this offset


def bare_name(path: Path) -> str:
    """Return the file's name without the ending that says how the file is compressed."""
    return path.name.removesuffix(path.suffix) if path.suffix.lower() in SUFFIXES else path.name


def ending(path: Path) -> str:
    """Return the ending of the bare name in lower case: `.csv` for `DATA.CSV.gz`."""
    return Path(bare_name(path)).suffix.lower()


def is_jsonl(path: Path) -> bool:
    """Return whether the file's name, compressed or not, promises JSON: it ends in `.jsonl`, `.ndjson` or `.json`."""
    return BY_NAME.get(ending(path)) == JSONL


def form_of(path: Path, options: TextOptions) -> str:
    """Return the form in which a file holds its texts: one of `PLAIN`, `JSONL`, `TABLE`, `TSV`, `EXTRACTED`, `PARQUET`.

    A file that begins like Parquet is Parquet. Any other file is `PLAIN` with `options.plain`, and otherwise counts as
    the form that its name promises; whoever reads the file raises an error if the content is of another form. If the
    name promises no form, the content decides:
    - JSONL begins like a JSON object or a list of objects.
    - A table's first line names columns, `options.column` among them.
    - `EXTRACTED` text begins with a `<doc id="…">` line.
    - All other text is `PLAIN`.

    Raises:
        InputError: the file cannot be read or decompressed; it begins like something that holds no lines of text; or it
            looks like a table or list of strings from which the texts must be taken first.
    """
    with opened(path, options.flag) as file:
        head = file.read(HEAD_BYTES)
    where = f"{options.flag}: {path}"
    if head.startswith(PARQUET_START):
        if compression_of(path):
            raise InputError(f"{where} is compressed Parquet, which is read as it is; decompress it")
        return PARQUET
    for magic, what in FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{where} is {what}")
    if head[TAR_AT:].startswith(TAR):
        raise InputError(f"{where} is a tar archive; unpack it and give the folder")
    if b"\r" in head and b"\n" not in head:
        raise InputError(f"{where} ends its lines with CR alone; convert them: tr '\\r' '\\n'")
    if options.plain:
        return PLAIN
    named = BY_NAME.get(ending(path))
    if named == PARQUET:
        raise InputError(f"{where} is no Parquet file (it does not begin with PAR1); write it again")
    lines = head.decode("utf-8-sig", errors="ignore").split("\n")
    cut = len(head) == HEAD_BYTES and any(line.strip() for line in lines[:-1])  # a cut line decides if it is the first
    whole = lines[:-1] if cut else lines
    return named or _form_of_lines([line for line in whole if line.strip()], options, where)


def _form_of_lines(lines: list[str], options: TextOptions, where: str) -> str:
    first = lines[0].strip() if lines else ""
    if JSON_START.match(first):
        return JSONL
    if MARKUP.match(first):
        raise InputError(f"{where} is XML or HTML; extract its text, with WikiExtractor say, and give that")
    delimiter = find_delimiter(first, options.column)
    if delimiter and all(COLUMN_NAME.fullmatch(name) for name in first.split(delimiter)):
        return TABLE
    texts = [line for line in lines if not line.startswith(("#", "<"))][:FIRST_LINES]  # not comments or tags
    tabs = {line.count("\t") for line in texts}
    indented = all("\t" not in line.strip() for line in texts)
    if len(texts) > 1 and len(tabs) == 1 and tabs != {0} and not indented:
        raise InputError(
            f"{where} has {tabs.pop() + 1} columns, parted by tabs, and no header with {options.column!r}; give the "
            f"texts alone, such as cut -f2 leaves, or add a first line with the columns' names{options.or_plain}"
        )
    if names := _columns(texts):
        raise InputError(
            f"{where} looks like a table, but none of its columns ({listed(names)}) is {options.column!r}; "
            f"{options.advice}{options.or_plain}"
        )
    quoted = [line.strip() for line in texts if QUOTED.fullmatch(line.strip())]
    dialogue = len(quoted) < FIRST_LINES and not any(ESCAPE.search(line[1:-1]) for line in quoted)
    if len(texts) == len(quoted) > 1 and not dialogue:
        advice = f"give the texts alone, as jq -r . writes{options.or_plain}"
        raise InputError(f"{where} has all lines in quotes, like JSON strings; {advice}")
    return EXTRACTED if EXTRACTED_START.match(first) else PLAIN


def _columns(lines: list[str]) -> list[str]:
    """Return the cells of the first line if each is one word and all lines have equally many cells; otherwise []."""
    for delimiter in DELIMITERS:
        names = lines[0].strip().split(delimiter) if lines else []
        if len(lines) > 1 and len(names) > 1 and all(ONE_WORD.fullmatch(name) for name in names):
            try:
                rows = list(csv_rows(lines, delimiter))
            except csv.Error:  # not CSV
                continue
            if all(len(row) == len(names) for row in rows):
                return names
    return []


def find_delimiter(header: str, column: str) -> str | None:
    """Return the delimiter (of `DELIMITERS`) that cuts a header into several names, `column` among them; or None."""
    for delimiter in DELIMITERS:
        names = split_header(header, delimiter)
        if len(names) > 1 and column in names:
            return delimiter
    return None


def split_header(header: str, delimiter: str) -> list[str]:
    """Return the names in a table's first line, without spaces around them.

    If the delimiter is a tab, quotes are plain characters. With any other, a line that is not CSV, such as one with a
    carriage return inside, is a single name.
    """
    try:
        names = header.split(delimiter) if delimiter == "\t" else next(csv_rows([header], delimiter), [])
    except csv.Error:
        names = [header]
    return [name.strip() for name in names]


def csv_rows(lines: Iterable[str], delimiter: str, strict: bool = False) -> Iterator[list[str]]:
    """Yield the cells of each row of CSV; a cell may have up to LONGEST_LINE characters.

    Raises:
        csv.Error: a cell is longer than that; or, if `strict`, a quote is out of place.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))  # a limit of the whole process
    return csv.reader(lines, delimiter=delimiter, strict=strict)
