"""Limit what a file that others wrote can cost its reader: size of lines, files and unpacked data, depth of JSON."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from bistil_ds.errors import InputError

LONGEST_LINE = 16 * 2**20  # bytes; five times the text of "War and Peace"
LARGEST_JSON = 64 * 2**20  # bytes: a kept_ids.json of a million tokens has 10 MB
DEEPEST_JSON = 100  # levels of lists and objects inside one another
TOO_DEEP = f"nested too deeply, more than {DEEPEST_JSON} lists and objects inside one another"
MOST_DIGITS = 300  # digits of a whole number; a float can hold 308
LARGEST_EXPANSION = 200  # unpacked bytes for each packed one; text has 3 to 30, a hostile file 1,000 or more
SMALL = 256 * 2**20  # bytes; a packed file of any size may unpack to so many


def bounded_lines(file: IO[bytes], where: str, longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Yield each line with its line end; keep at most `longest` bytes of the file in memory.

    Args:
        where: flag and file, in front of an error's message.
        longest: largest number of bytes in a line, line end included.

    Raises:
        InputError: a line is longer; the message gives its number, counted from 1.
    """
    for number, line in enumerate(iter(lambda: file.readline(longest + 1), b""), 1):
        if len(line) > longest:
            raise InputError(f"{where}, line {number} is longer than {_size(longest)}; break it into several lines")
        yield line


def read_at_most(file: IO[bytes], where: str, most: int) -> bytes:
    """Return the rest of the file, from its current position on.

    Raises:
        InputError: the rest has more than `most` bytes.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{where} is larger than {_size(most)}, more than such a file can hold; give another file")
    return content


def unpacked_at_most(file: IO[bytes], packed: int, where: str) -> io.BufferedReader:
    """Wrap `file`, which unpacks `packed` compressed bytes, in a reader that refuses to unpack too much.

    A small hostile file could fill memory or disk. The limit is LARGEST_EXPANSION times `packed`, which no text
    reaches, or SMALL bytes if that is more.

    Raises:
        InputError: raised by the reader's methods if more bytes come out.
    """
    return io.BufferedReader(_Unpacked(file, max(SMALL, LARGEST_EXPANSION * packed), where), 2**18)


class _Unpacked(io.RawIOBase):
    def __init__(self, file: IO[bytes], most: int, where: str) -> None:
        self._file, self._left, self._error = file, most, f"{where} unpacks to over {_size(most)}; unpack it yourself"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._left -= count
        if self._left < 0:
            raise InputError(self._error)
        return count


def parse_json(
    text: str, *, finite: bool = True, object_of: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the value of a JSON text.

    Args:
        finite: whether to refuse NaN, Infinity, numbers that no float can hold, such as 1e400, and whole numbers of
            more than MOST_DIGITS digits.
        object_of: makes each object from its list of (key, value), in place of `dict`.

    Raises:
        ValueError: the text is not JSON (`json.JSONDecodeError`), is more than DEEPEST_JSON levels deep, has a number
            that `finite` refuses, or has a whole number of more digits than Python converts (4,300).
    """
    checks: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite, "parse_int": _whole} if finite else {}
    try:
        value = json.loads(text, object_pairs_hook=object_of, **checks)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [inner for outer in level for inner in _parts(outer) if isinstance(inner, list | dict)]
        if not level:
            return value
    raise ValueError(TOO_DEEP)


def load_json(path: Path, *, finite: bool = True) -> Any:
    """Return the JSON value in a UTF-8 file of at most LARGEST_JSON bytes, within the limits of `parse_json`.

    Raises:
        OSError: the file cannot be read.
        ValueError: `parse_json` raises it, or the file is not UTF-8.
        InputError: the file is larger than LARGEST_JSON.
    """
    with open(path, "rb") as file:
        return parse_json(read_at_most(file, str(path), LARGEST_JSON).decode("utf-8"), finite=finite)


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _refuse(name: str) -> float:
    raise ValueError(f"{name} where a number is expected")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(digits[:40])


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
