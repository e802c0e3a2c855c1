"""Read the JSON values of a file: one a line (JSON lines), or one that is the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from bistil_ds.errors import InputError
from bistil_ds.runs import bounded
from bistil_ds.tasks.readers.json_values import parse_json
from bistil_ds.tasks.readers.lines import lines, quote
from bistil_ds.text.form import JSON_START, is_jsonl

LARGEST_VALUE = 512 * 2**20  # bytes of one JSON value, a line or a whole file; SQuAD's training set has 30 MB
WRAPPERS = ("data",)  # keys under which one object holds all rows of a file


class Document(NamedTuple):
    """A JSON value of a file.

    `line` is the number of its first line, `where` is its name in messages, and `alone` says whether the file holds no
    other value.
    """

    line: int
    where: str
    value: Any
    alone: bool


def looks_like_json(path: Path, flag: str) -> bool:
    """Return whether the file's name, or its first line that is not blank, says that it is JSON.

    Raises:
        InputError: the file cannot be read, or its first lines are not UTF-8.
    """
    if is_jsonl(path):
        return True
    first = next((line.strip() for _, line in lines(path, flag, LARGEST_VALUE) if line.strip()), "")
    return JSON_START.match(first) is not None


def json_documents(path: Path, flag: str) -> Iterator[Document]:
    """Stream the values of JSON lines, or yield the only value of a file; skip blank lines.

    A file that is one value over several lines is held in memory as a whole.

    Raises:
        InputError: the file cannot be read, is not JSON, or has a value of over LARGEST_VALUE bytes.
    """
    name = f"{flag}: {path}"
    numbered = ((number, line) for number, line in lines(path, flag, LARGEST_VALUE) if line.strip())
    number, first = next(numbered, (0, ""))
    if not number:
        return
    second = next(numbered, None)
    where = f"{name}, line {number}"
    if second is None:
        yield Document(number, where, parse_json(first, where), True)
    elif _is_json(first):
        for at, line in chain([(number, first), second], numbered):
            where = f"{name}, line {at}"
            yield Document(at, where, parse_json(line, where), False)
    else:
        try:
            yield Document(number, name, parse_json(_whole(path, flag), name), True)
        except InputError:
            if _is_json(second[1]):  # these are JSON lines, and the first one is damaged
                parse_json(first, where)
            raise


def json_rows(path: Path, flag: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield (number, name in messages, object) for each object of JSON lines, or of a list (alone or under `data`).

    The number is that of the line or, in a list, the object's position from 1.

    Raises:
        InputError: `json_documents` raises it, or a value is no object.
    """
    for number, where, value, alone in json_documents(path, flag):
        listed = value if alone and isinstance(value, list) else None
        if alone and isinstance(value, dict):
            listed = next((value[key] for key in WRAPPERS if isinstance(value.get(key), list)), None)
        named = [(number, where, value)] if listed is None else _numbered(listed, f"{flag}: {path}")
        for row, place, one in named:
            if not isinstance(one, dict):
                raise InputError(f"{place}: {quote(one)} is no object; expected objects, one a line or in one list")
            yield row, place, one


def _numbered(listed: list[Any], name: str) -> Iterator[tuple[int, str, Any]]:
    for row, one in enumerate(listed, 1):
        yield row, f"{name}, row {row}", one


def _whole(path: Path, flag: str) -> str:
    found, size = [], 0
    for _, line in lines(path, flag, LARGEST_VALUE):
        found.append(line)
        size += len(line)
        if size > LARGEST_VALUE:
            raise InputError(f"{flag}: {path} is one JSON value of over 512 MiB; write one object a line")
    return "\n".join(found)


def _is_json(text: str) -> bool:
    try:
        bounded.parse_json(text)
    except ValueError:
        return False
    return True
