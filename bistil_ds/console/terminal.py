"""Print lines and tables, without the characters by which a name or label could control the user's terminal.

Every command prints through these functions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import rich
from rich.console import Console

from bistil_ds.console.grid import Grid
from bistil_ds.console.untrusted import one_line

PLAIN_WIDTH = 110  # characters in a table's line if output does not go to a terminal


def say(text: object = "", *, error: bool = False) -> None:
    """Print one line (see `one_line`) on standard output, or on standard error if `error`."""
    print(one_line(str(text)), file=sys.stderr if error else sys.stdout, flush=True)


def show(grid: Grid) -> None:
    """Print a table at most as wide as the terminal, or as PLAIN_WIDTH if output does not go to a terminal."""
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=PLAIN_WIDTH)).print(grid.rich())


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """While the block runs, show `what` on standard error: what is being done."""
    with Console(stderr=True).status(one_line(what)):
        yield


@contextmanager
def without_bars() -> Iterator[None]:
    """Hide the progress bars that a library draws on rich's own console while the block runs."""
    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before
