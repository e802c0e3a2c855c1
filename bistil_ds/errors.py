"""The kinds of error a user of the command line is meant to see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something the user gave cannot be used: the message says what, where and what to do, in one line.

    The commands print it without a traceback and exit with code 2.
    """


class NonFiniteLossError(RuntimeError):
    """The loss of a batch is NaN or infinite; raised before the update it would have spoilt."""


@contextmanager
def blaming(flag: str) -> Iterator[None]:
    """An InputError of the Python interface, with the flag that led to it in front."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
