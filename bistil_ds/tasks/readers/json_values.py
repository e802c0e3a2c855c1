"""JSON read strictly: no key twice in an object, no text that is not Unicode, every fault named."""

from __future__ import annotations

import json
import re
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import shown


class _KeyTwiceError(ValueError):
    """An object has a key twice, so one of the values would be lost."""


def parse_json(text: str, where: str) -> Any:
    """The value.

    Raises:
        InputError: not JSON (with line and column), nested too deeply, a number too long, or a key twice in an object.
    """
    try:
        return json.loads(text, object_pairs_hook=_object_of)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise InputError(f"{where}: JSON nested too deeply") from None
    except _KeyTwiceError as error:
        raise InputError(f"{where}: {error}") from None
    except ValueError:  # what is left: Python reads no number of over 4,300 digits
        raise InputError(f"{where}: a number with thousands of digits{_place_of_long_number(text)}") from None


def text_at(value: dict[str, Any], key: str, where: str) -> str:
    """The string under the key, which is not blank.

    Raises:
        InputError: it is missing, no string, blank, or holds half of a surrogate pair.
    """
    if key not in value:
        raise InputError(f"{where}: no key {shown(key)} (it has {', '.join(map(shown, list(value)[:10])) or 'none'})")
    text = value[key]
    if not isinstance(text, str):
        raise InputError(f"{where}: {key} is {shown(text)}; expected a string")
    if not text.strip():
        raise InputError(f"{where}: {key} is empty; expected text")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{where}: {key} has an escaped surrogate without its partner; write it as UTF-8")
    return text


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _KeyTwiceError(f"the key {shown(twice)} stands twice in one object")
    return value


def _place_of_long_number(text: str) -> str:
    found = re.search(r"[0-9]{1000,}", text)
    return f" at line {text.count(chr(10), 0, found.start()) + 1}" if found else ""
