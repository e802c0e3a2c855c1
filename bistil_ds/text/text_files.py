"""Read texts from plain, gzipped and JSONL files, with errors that name the line."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bistil_ds.errors import InputError

BLOCK_BYTES = 1 << 18  # blocks that fit the processor's cache are decoded twice as fast as blocks of 16 MB


def is_jsonl(path: Path) -> bool:
    """Return whether the file's name promises one JSON object a line (`.jsonl` or `.json`, gzipped or not)."""
    return path.name.removesuffix(".gz").endswith((".jsonl", ".json"))


@contextmanager
def opened(path: Path, flag: str) -> Iterator[IO[bytes]]:
    """Open a file to read bytes; decompress them if its name ends in `.gz`.

    Raises:
        InputError: the file is missing, a folder, a pipe or a device, or cannot be read or decompressed.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise InputError(f"{flag}: {path} is a pipe or device, which cannot be read twice; save its text to a file")
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except FileNotFoundError:
        raise InputError(f"{flag}: there is no file {path}; give a text file or a hub data set org/name") from None
    except IsADirectoryError:
        raise InputError(f"{flag}: {path} is a folder; give the text file itself") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{flag}: {path} is not a whole gzip file ({error}); compress or copy it again") from None
    except OSError as error:
        raise InputError(f"{flag}: {path} cannot be read ({error.strerror}); check the file and its rights") from None


def numbered_lines(path: Path, flag: str) -> Iterator[tuple[int, str]]:
    """Yield each line's number, counted from 1, and its text without line end and byte order mark.

    Raises:
        InputError: the file cannot be read, or a line is not UTF-8 or has a NUL; the message starts with `flag`.
    """
    with opened(path, flag) as file:
        for number, line in enumerate(file, 1):
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


def read_texts(path: Path, text_column: str, flag: str) -> Iterator[str]:
    """Yield the texts of the file in order: its lines, or the text column of its JSONL lines; leave out blank texts.

    Raises:
        InputError: the file cannot be read, a line is not UTF-8 or has a NUL, or a JSONL line is not an object with a
            string in the text column; the message starts with `flag`.
    """
    jsonl = is_jsonl(path)
    for number, text in numbered_lines(path, flag):
        if jsonl and text.strip():
            text = _text_of(text, text_column, f"{flag}: {path}, line {number}")
        if text.strip():
            yield text


def _text_of(line: str, text_column: str, where: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{where} is not JSON; a JSONL file has one object a line") from None
    if not isinstance(record, dict):
        raise InputError(f'{where} is not an object; expected {{"{text_column}": "..."}}')
    if text_column not in record:
        columns = ", ".join(record) or "none"
        raise InputError(f"{where} has no column {text_column!r} (it has {columns}); name it with --text_column")
    if not isinstance(record[text_column], str):
        kind = type(record[text_column]).__name__
        raise InputError(f"{where}: column {text_column!r} is {kind}, not a string; name the text with --text_column")
    if not record[text_column].isascii() and any("\ud800" <= c <= "\udfff" for c in record[text_column]):
        raise InputError(f"{where}: the text has an escaped surrogate without its partner; write it as UTF-8")
    return record[text_column]


def is_readable_plain_text(path: Path, flag: str) -> bool:
    """Return whether the whole file is UTF-8 without a NUL, and is not blank.

    Decoding large blocks is faster than reading lines, but does not show which line is wrong.

    Raises:
        InputError: the file cannot be opened or decompressed.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    blank = True
    with opened(path, flag) as file:
        try:
            while block := file.read(BLOCK_BYTES):
                text = decoder.decode(block)
                if "\0" in text:
                    return False
                blank = blank and not text.removeprefix("\ufeff").strip()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return not blank
