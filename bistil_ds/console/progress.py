"""The one kind of progress bar: a line of tqdm on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from bistil_ds.console.untrusted import one_line


def progress_bar(
    things: Iterable[Any] | None = None, what: str | None = None, *, show: bool = True, **more: Any
) -> tqdm:
    """Return a bar over `things`, or one to `update` by hand if `things` is None.

    Args:
        what: text in front of the bar, which says what is being done.
        show: False draws no bar; iterating works all the same.
        more: further arguments of `tqdm.tqdm`, such as `total`, `unit`, `leave` and `delay` (seconds until it appears).
    """
    return tqdm(things, desc=what and one_line(what), disable=not show, dynamic_ncols=True, **more)


@contextmanager
def share_bar(*, show: bool = True) -> Iterator[Callable[[float, str], object]]:
    """Show a bar in per cent, and yield the function that moves it: (share done, 0 to 1; what is being done)."""
    with progress_bar(total=100, unit="%", show=show) as bar:

        def move(done: float, what: str) -> None:
            bar.set_description_str(one_line(what), refresh=False)
            bar.update(round(100 * done) - bar.n)
            bar.refresh()

        yield move
        move(1.0, "")
