"""Damage a file of task data. Each `damage_` function does it in one way, and returns a copy damaged at random."""

from __future__ import annotations

import copy
import gzip
import json
import unicodedata
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "9",
    "-1",
    "01",
    "1-2",
    "2-2",
    "3-1",
    "0.1",
    "1.1",
    "2.1",
    "1e3",
    "٣",
    "_",
    "",
    "9" * 5000,
]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-", "S-PER", "o", "_", "-", "", " ", "NOUN", "noun", "CONJ"]
TAGS += ["root", "nsubj", "nsubj:pass", ":", "a b", "neutral", "Neutral", "0", "1", "entailment"]
TEXTS = ["", " ", "\u00a0", "\u200b", "#", "# x", "-DOCSTART-", "_", '"', "x\ty", "new line", "\u0000", "é", "10 000"]
ODD = ["\0", "\r", "\n", "\t", " ", "\ufeff", "\x0b", "\x1c", "\x85", "\u2028", "\u200b", '"', "\\", "{", "]", "_", "1"]


def damage_bytes(rng: Random, text: str) -> bytes:
    """Lose, change or add some bytes, and sometimes cut off the end."""
    content = bytearray(text.encode())
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at = rng.randrange(len(content) + 1)
        new = rng.choice([rng.randbytes(rng.randint(1, 4)), rng.choice(ODD).encode()])
        gone = rng.choice([0, 0, 1, 1, 2, 40])
        content[at : at + gone] = rng.choice([b"", new])
    return bytes(content[: rng.randrange(len(content) + 1)] if rng.random() < 0.1 else content)


def damage_structure(rng: Random, text: str) -> bytes:
    """Lose, double, swap, join or insert lines, empty ones above all."""
    lines = text.split("\n")
    for _ in range(rng.choice([1, 1, 2, 4])):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        empty = [index for index, line in enumerate(lines) if not line]
        match rng.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(other, lines[at])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines.insert(at, rng.choice(["", " ", "\t", "# comment", "-DOCSTART- O", "{}", "[]", "null"]))
            case 4:
                lines = [line for line in lines if line]
            case 5 if empty:
                del lines[rng.choice(empty)]
            case 6:
                lines[at : at + 2] = [rng.choice(["", " ", "\t"]).join(lines[at : at + 2])]
            case 7:
                lines = lines[: at + 1]
        lines = lines or [""]
    return "\n".join(lines).encode()


def damage_encoding(rng: Random, text: str) -> bytes:
    """Use another encoding or other line ends, or insert byte order marks, invalid UTF-8 or line-end lookalikes."""
    name = rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "utf-7"])
    at = rng.randrange(len(text) + 1)
    parts = text[:at].encode(), text[at:].encode()
    match rng.randrange(7):
        case 0:
            return text.encode(name, errors="replace")
        case 1:
            return text.replace("\n", rng.choice(["\r\n", "\r", "\r\r\n", "\n\r", "\x85", "\u2028"])).encode()
        case 2:
            return parts[0] + parts[1].replace(b"\n", b"\r\n")
        case 3:
            return rng.choice([b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"\xe9", b"\xef\xbb\xbf", b"\0"]).join(parts)
        case 4:
            return rng.choice(ODD).encode().join(parts)
        case 5:
            return text.encode().decode("latin-1").encode()
        case _:
            return unicodedata.normalize(rng.choice(["NFD", "NFKC"]), text).encode()


def damage_size(rng: Random, text: str) -> bytes:
    """Return almost nothing, a text cut short, or one with a far too long file, line or value or too deep nesting."""
    at = rng.randrange(len(text) + 1)
    lines = text.split("\n")
    match rng.randrange(7):
        case 0:
            return rng.choice([b"", b"\n", b" ", b"\xef\xbb\xbf", b"\n" * 300, b"{}", b"[]", b'""'])
        case 1:
            return (text * rng.choice([2, 30])).encode()
        case 2:
            return "\n".join(line for line in lines for _ in range(rng.choice([1, 100]))).encode()
        case 3:
            many = rng.choice(["x", "\t", " ", "9", "[", '{"a":', "\n", "\t\t", "é"]) * rng.choice([100, 20_000])
            return (text[:at] + many + text[at:]).encode()
        case 4:
            return text[:at].encode()
        case 5:
            line = rng.choice(lines)
            return "\n".join([*lines, *[line] * rng.choice([50, 10_050])]).encode()
        case _:
            return "".join(character * rng.choice([1, 1, 1, 60]) for character in text).encode()


def damage_gzip(rng: Random, content: bytes) -> bytes:
    """Return a gzip file that is whole, cut or changed."""
    packed = bytearray(gzip.compress(content, mtime=0))
    if rng.random() < 0.7:
        at = rng.randrange(len(packed))
        packed[at : at + rng.choice([0, 1, 9])] = rng.choice([b"", rng.randbytes(2)])
    return bytes(packed)


def damage_cells(rng: Random, text: str, edit: Callable[[Random, list[str]], None]) -> bytes:
    """Apply `edit` to the cells, separated by tabs or single spaces, of one to three lines."""
    lines = text.split("\n")
    separator = "\t" if "\t" in text else " "
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.choice([index for index, line in enumerate(lines) if line] or [0])
        cells = lines[at].split(separator)
        edit(rng, cells)
        lines[at] = rng.choice([separator] * 9 + [" ", "\t", "  "]).join(cells)
    return "\n".join(lines).encode()


def edit_columns(rng: Random, cells: list[str]) -> None:
    """Lose, double, replace, swap, join or append a cell."""
    at, other = rng.randrange(len(cells)), rng.randrange(len(cells))
    match rng.randrange(6):
        case 0:
            del cells[at]
        case 1:
            cells.insert(other, cells[at])
        case 2:
            cells[at] = rng.choice(TEXTS)
        case 3:
            cells[at], cells[other] = cells[other], cells[at]
        case 4:
            cells[at : at + 2] = [rng.choice(["", " "]).join(cells[at : at + 2])]
        case _:
            cells.append(rng.choice(TEXTS))


def edit_numbers(rng: Random, cells: list[str]) -> None:
    """Replace the first cell, or one that begins with a digit, by a text from NUMBERS, which need not be a number."""
    numeric = [index for index, cell in enumerate(cells) if cell[:1].isdigit()]
    cells[rng.choice([0, *numeric, *numeric])] = rng.choice(NUMBERS)


def edit_tags(rng: Random, cells: list[str]) -> None:
    """Replace a cell that could be a tag by another tag."""
    cells[rng.choice([-1, *[at for at in (3, 7) if at < len(cells)]])] = rng.choice(TAGS)


def damage_json(rng: Random, value: Any, values: list[Any]) -> Any:
    """Remove, double, rename or replace a key or item somewhere in the value; new values come from `values`."""
    holders = list(_holders(value))
    for _ in range(rng.choice([1, 1, 2])):
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else [*range(len(holder)), 0])
        if isinstance(holder, list) and not holder:
            # without the copy, a list of `values` could come to contain itself
            holder.append(copy.deepcopy(rng.choice(values)))
        elif (what := rng.randrange(4)) == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif what == 1:
            holder[rng.choice(["text", "id", "label", "is_impossible", "more"])] = holder.pop(key)
        else:
            holder[key] = copy.deepcopy(rng.choice(values))
        holders = list(_holders(value)) or [[]]
    return value


def _holders(value: Any) -> Any:
    """Yield every object and list in the value, itself included, except empty objects."""
    if isinstance(value, dict | list):
        if value or isinstance(value, list):
            yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item)


JSON_VALUES: dict[str, list[Any]] = {
    "columns": [None, [], {}, "", " ", 3, 1.5, True, "text", ["a"], {"text": "a"}, "\ud83d", "a\tb\nc"],
    "ids": [0, 1, -1, 3, 10**30, 2.0, "0", "1", "q1", "q2", None, True, float("nan"), float("inf")],
    "tags": [*TAGS, True, False, None, 0, 1, -1, [], [{"text": "a", "answer_start": 0}]],
}


def dumped(rng: Random, value: Any) -> str:
    """Return the value as JSON text, with non-ASCII characters escaped or not, and now and then with a key twice."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5 or "\\ud83d" in json.dumps(value))
    if rng.random() < 0.05:
        text = text.replace('", "', '", "label": 3, "', 1).replace("{", '{"id": "q1", ', 1)
    return text
