"""Read JSON strictly: refuse objects that have a key twice, and strings that are blank or not valid Unicode."""

from __future__ import annotations

import json
import re
from typing import Any

from bistil_ds.console.untrusted import is_utf8
from bistil_ds.errors import InputError
from bistil_ds.runs import bounded
from bistil_ds.tasks.readers.lines import quote


class _KeyTwiceError(ValueError):
    """An object has a key twice; one of the two values would be lost."""


def parse_json(text: str, where: str) -> Any:
    """Parse a JSON text.

    Raises:
        InputError: the text is not JSON (the message gives line and column), is nested too deeply, has a number of too
            many digits, or has an object with a key twice.
    """
    try:
        return bounded.parse_json(text, finite=False, object_of=_object_of)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except _KeyTwiceError as error:
        raise InputError(f"{where}: {error}") from None
    except ValueError as error:  # nested too deeply, or a number of too many digits
        place = _place_of_long_number(text) if "digits" in str(error) else ""
        reason = f"a number with thousands of digits{place}" if place else f"JSON {error}"
        raise InputError(f"{where}: {reason}") from None


def text_at(value: dict[str, Any], key: str, where: str) -> str:
    """Return the string under the key.

    Raises:
        InputError: the key is missing, or its value is not a string, is blank, or holds half of a surrogate pair.
    """
    if key not in value:
        raise InputError(f"{where}: no key {quote(key)} (it has {', '.join(map(quote, list(value)[:10])) or 'none'})")
    text = value[key]
    if not isinstance(text, str):
        raise InputError(f"{where}: {key} is {quote(text)}; expected a string")
    if not text.strip():
        raise InputError(f"{where}: {key} is empty; expected text")
    if not is_utf8(text):
        raise InputError(f"{where}: {key} has an escaped surrogate without its partner; write it as UTF-8")
    return text


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _KeyTwiceError(f"the key {quote(key)} stands twice in one object")
            seen.add(key)
    return value


def _place_of_long_number(text: str) -> str:
    found = re.search(r"[0-9]{1000,}", text)
    return f" at line {text.count(chr(10), 0, found.start()) + 1}" if found else ""
