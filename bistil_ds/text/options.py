"""Options for reading a corpus: the column of its texts, and what messages say."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from bistil_ds.console.untrusted import is_utf8
from bistil_ds.errors import InputError, Notice

DEFAULT_COLUMN = "text"
NO_FLAG = f"call the column of the texts {DEFAULT_COLUMN!r}"  # advice where no flag names the column
SHOWN_COLUMNS, SHOWN_CHARACTERS = 20, 40


@dataclass(frozen=True)
class TextOptions:
    """How a corpus is read.

    Args:
        flag: the flag that named the corpus; messages start with it.
        column: the column of the texts, in data that has columns.
        advice: how the user can name another column; messages end with it.
        plain: each line is a text, whatever it looks like.
    """

    flag: str
    column: str = DEFAULT_COLUMN
    advice: str = "name it with --text_column"
    plain: bool = False

    def __post_init__(self) -> None:
        """Raise InputError for a column whose name is not UTF-8: no data has such a column."""
        if not is_utf8(self.column):
            raise InputError(f"{self.flag}: a column called {self.column!r} is not UTF-8; {self.advice}")

    @property
    def or_plain(self) -> str:
        """Return how the user says that each line is a text, as the end of a message; "" where nobody can say so."""
        return "" if self.advice == NO_FLAG else "; if each line is a text, give plain:FILE"


def choose_column(row: Mapping[str, Any], options: TextOptions, where: str) -> str:
    """Return the column of the texts: `options.column` or, if the user named none, the only column of strings.

    The latter is taken only if its string in the first row has several words. A `Notice` then names the column.

    Args:
        row: column → value in the first row.
        where: the data and its first row, for messages.

    Raises:
        InputError: there is no column `options.column`, and no other column is clearly that of the texts.
    """
    if options.column in row:
        return options.column
    strings = [name for name, value in row.items() if isinstance(value, str)]
    if options.column == DEFAULT_COLUMN and len(strings) == 1 and len(row[strings[0]].split()) > 1:
        warnings.warn(Notice(f"{where}: reading {strings[0]!r}, the only column of strings"), stacklevel=2)
        return strings[0]
    raise InputError(f"{where} has no column {options.column!r} (it has {listed(row)}); {options.advice}")


def string_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that hold strings, of any Arrow type, dictionary-encoded or not."""
    kinds = {field.name: field.type for field in schema}
    plain = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    is_string = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return [name for name, kind in plain.items() if any(test(kind) for test in is_string)]


def listed(columns: Iterable[str]) -> str:
    """Return the names of the first columns, shortened, for a message."""
    names = [str(name)[:SHOWN_CHARACTERS] for name in islice(columns, SHOWN_COLUMNS)]
    return ", ".join(names) or "none"


def check_text(value: Any, column: str, options: TextOptions, where: str) -> str:
    """Return `value`, the cell of a text column, after checking it.

    Raises:
        InputError: it is not a string, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InputError(f"{where}: column {column!r} is {kind}, not a string; {options.advice}")
    if not is_utf8(value):
        raise InputError(f"{where}: the text has an escaped surrogate without its partner; write it as UTF-8")
    return value
