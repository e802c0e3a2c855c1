"""Stream a text file, compressed or not, as numbered lines or as sentences that empty lines separate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from bistil_ds.errors import InputError
from bistil_ds.text.text_files import numbered_lines

LONGEST_SENTENCE = 10_000  # lines; a longer one probably means that empty lines are missing, and may not fit in memory
SHOWN_CHARACTERS = 40

Example = TypeVar("Example")
Block = list[tuple[int, str]]


def quote(found: object) -> str:
    """Return a short description of a value in one line, for a message."""
    if isinstance(found, str):
        return repr(found) if len(found) <= SHOWN_CHARACTERS else repr(found[:SHOWN_CHARACTERS])[:-1] + "…"
    if isinstance(found, list | tuple | dict):
        return "an object" if isinstance(found, dict) else f"a list of {len(found)}"
    return repr(found)[:SHOWN_CHARACTERS]


def lines(path: Path, flag: str, longest: int | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without line end) for each line; a line may end with LF or CRLF.

    Raises:
        InputError: the file cannot be read; or a line is not UTF-8, has a NUL or a carriage return inside, or has more
            than `longest` bytes (default: `bistil_ds.runs.bounded.LONGEST_LINE`).
    """
    for number, line in numbered_lines(path, flag, longest):
        if "\r" in line:
            raise InputError(
                f"{flag}: {path}, line {number} has a carriage return inside; end lines with LF or CRLF only"
            )
        yield number, line


def sentences(path: Path, flag: str, is_border: Callable[[str], bool] = lambda line: not line) -> Iterator[Block]:
    """Yield for each sentence its lines with their numbers; a sentence ends at a border, by default an empty line.

    Raises:
        InputError: `lines` raises it, or a sentence has over 10,000 lines.
    """
    block: Block = []
    for number, line in lines(path, flag):
        if not is_border(line):
            block.append((number, line))
            if len(block) > LONGEST_SENTENCE:
                raise InputError(
                    f"{flag}: {path}, line {number}: no empty line since line {block[0][0]}; one ends each sentence"
                )
        elif block:
            yield block
            block = []
    if block:
        yield block


def at_least_one(examples: Iterable[Example], message: str) -> Iterator[Example]:
    """Yield the examples unchanged.

    Raises:
        InputError: there is no example; the error's text is `message`.
    """
    found = False
    for example in examples:
        found = True
        yield example
    if not found:
        raise InputError(message)
