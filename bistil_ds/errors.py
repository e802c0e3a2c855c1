"""The kinds of error a user of the command line is meant to see."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used: the message says what, where and what to do, in one line.

    The commands print it without a traceback and exit with code 2.
    """


class NonFiniteLossError(RuntimeError):
    """The loss of a batch is NaN or infinite; raised before the update it would have spoilt."""
