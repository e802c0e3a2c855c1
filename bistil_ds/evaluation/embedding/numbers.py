"""Read numbers from the cells of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import quote


def number_at(record: Mapping[str, Any], column: str, where: str) -> float:
    """Return the number in a column.

    Args:
        where: the file and line, for messages.

    Raises:
        InputError: it is no finite number.
    """
    number = parse_number(record[column])
    if math.isnan(number):
        raise InputError(f"{where}: {column} is {quote(record[column])}; expected a number")
    return number


def parse_number(value: Any) -> float:
    """Return a number, or the number that a text is; NaN if it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
