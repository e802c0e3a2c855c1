"""Read the rows of a hub data set under our column names, with class names in place of class numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from datasets import ClassLabel

from bistil_ds.console.untrusted import is_utf8
from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.readers.columns import OtherNames, find_columns
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.hub import load_rows
from bistil_ds.text.specification import HubDataset

NO_LABEL = "-"  # SNLI's label for a pair without a right answer, which has class number -1 in hub data sets


def hub_rows(
    corpus: HubDataset, options: ReadOptions, wanted: OtherNames
) -> Iterator[tuple[Place, str, dict[str, Any]]]:
    """Load a hub data set; yield (place, name in messages, our name of each column → value) for each row.

    Raises:
        InputError: the data set cannot be loaded, has no rows, or lacks a column.
    """
    name = f"{corpus.id}, split {corpus.split}"
    if corpus.column:
        raise InputError(f"{options.flag}: {name}: columns are named with --columns, not with :{corpus.column}")
    rows = load_rows(corpus, options.flag)
    columns = find_columns(wanted, rows.column_names, options, f"{options.flag}: {name}")
    if not len(rows):
        raise InputError(f"{options.flag}: {name} has no rows")
    named = {ours: _namer(rows.features[theirs]) for ours, theirs in columns.items()}
    for number, row in enumerate(rows.select_columns(list(dict.fromkeys(columns.values()))), 1):
        place = Place(name, number)
        values = {ours: named[ours](row[theirs]) for ours, theirs in columns.items()}
        yield place, f"{options.flag}: {name}, row {number}", values


def _namer(feature: Any) -> Callable[[Any], Any]:
    """Return a function that replaces each class number in a cell by the class's name, or by "-" if there is none."""
    if isinstance(feature, ClassLabel):
        names = feature.names
        return lambda value: names[value] if isinstance(value, int) and 0 <= value < len(names) else NO_LABEL
    inner = getattr(feature, "feature", None)
    if isinstance(inner, ClassLabel):
        of_one = _namer(inner)
        return lambda values: None if values is None else [of_one(value) for value in values]
    return lambda value: value


def strings(value: Any, column: str, where: str) -> list[str]:
    """Return `value`, a cell of a column, after checking it.

    Raises:
        InputError: it is not a list of strings, or one of them holds half of a surrogate pair.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{where}: column {column} is {quote(value)}; expected a list of strings")
    if odd := next((item for item in value if not is_utf8(item)), None):
        raise InputError(f"{where}: {quote(odd)} in column {column} has an escaped surrogate without its partner")
    return value
