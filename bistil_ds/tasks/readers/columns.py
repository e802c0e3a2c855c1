"""Find the columns that a reader needs in a TSV file with a header, a JSON object or a hub data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.task import ReadOptions

OtherNames = Mapping[str, tuple[str, ...]]
LANGUAGE, LANGUAGE_NAMES = "language", ("lang",)  # a column with the language of each row, and its other names


def find_columns(wanted: OtherNames, found: Sequence[str], options: ReadOptions, where: str) -> dict[str, str]:
    """Return our name of each wanted column → its name in the data.

    The name in the data is the one that `options.columns` gives, else our own or one of its alternatives. The result
    also has the column `language` if `options.columns` names it, or if the data has it and `options.language` asks for
    one language.

    Args:
        wanted: our name of each column → its alternatives, which are its names in well-known data sets.
        found: the names of the columns in the data.
        where: the file and line, or data set, for messages.

    Raises:
        InputError: a column is missing or there twice; several columns fit one of our names; or `options.columns` has a
            key that is not among our names.
    """
    check_names(options, (*wanted, LANGUAGE))
    chosen: dict[str, str] = {}
    sought = dict(wanted)
    if LANGUAGE in options.columns or (options.language is not None and {LANGUAGE, *LANGUAGE_NAMES} & set(found)):
        sought[LANGUAGE] = LANGUAGE_NAMES
    for ours, others in sought.items():
        candidates = (options.columns[ours],) if ours in options.columns else (ours, *others)
        present = [name for name in candidates if name in found]
        if len(present) > 1:
            raise InputError(f"{where}: {' and '.join(present)} both there; say which with --columns {ours}=NAME")
        if not present:
            there = ", ".join(quote(name) for name in found[:10]) or "none"
            expected = " or ".join(candidates)
            raise InputError(f"{where}: no column {expected} (it has {there}); name it with --columns {ours}=NAME")
        if found.count(present[0]) > 1:
            raise InputError(f"{where}: column {present[0]} is there twice; rename one")
        chosen[ours] = present[0]
    return chosen


def check_names(options: ReadOptions, ours: Sequence[str]) -> None:
    """Raise InputError if `options.columns` has a key that is not in `ours`.

    `ours` is empty for a format with fixed columns.
    """
    for name in options.columns:
        if name not in ours:
            expected = f"the columns here are {', '.join(ours)}" if ours else "this format has fixed columns"
            raise InputError(f"--columns {name}={options.columns[name]}: {expected}")
