"""The kinds of error a user of the command line is meant to see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Error for something that the user gave and that cannot be used.

    The message says in one line what is wrong, where, and what to do. The commands print it without a traceback and
    exit with code 2.
    """


class NonFiniteError(RuntimeError):
    """Error for training that has met a NaN or infinite loss, gradient or weight; raised on every rank.

    No checkpoint or model of the spoilt state has been written. The commands print the message in one line and exit
    with code 1.
    """


class NonFiniteLossError(NonFiniteError):
    """Error for a batch with a NaN or infinite loss; raised before the update that it would have spoilt."""


class ProductError(RuntimeError):
    """Error for a run that finished training, but whose result is missing or does not load.

    The commands print it without a traceback and exit with code 1.
    """


class OtherRankError(RuntimeError):
    """Error for a rank that stops because another one failed; the message says in one line which, and at what.

    The commands exit with code 1; the rank that failed says what happened.
    """


class Notice(UserWarning):
    """Warning for something that a user should know and that stops nothing; the commands print it in one line."""


class Preempted(SystemExit):
    """Exit of a run that a signal asked to stop; uncaught, it ends the process with `CODE` and without a traceback.

    Like KeyboardInterrupt it is no subclass of Exception, so `except Exception` does not catch it.
    """

    CODE = 75  # EX_TEMPFAIL of sysexits.h: try again later

    def __init__(self, message: str) -> None:
        super().__init__(self.CODE)
        self.message = message


@contextmanager
def blaming(flag: str) -> Iterator[None]:
    """Put `flag` in front of the message of an InputError that the block raises."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
