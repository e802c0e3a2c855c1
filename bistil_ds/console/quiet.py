"""Filter what a command prints: show its own lines and errors, and libraries' messages only with `--verbose`."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bistil_ds.console.plain_stream import PlainStream
from bistil_ds.console.terminal import say
from bistil_ds.console.untrusted import one_line
from bistil_ds.errors import Notice

_running: ExitStack | None = None  # what the innermost `plain_output` block must undo at its end; None outside a block


@contextmanager
def plain_output() -> Iterator[None]:
    """While the block runs, keep control characters out of standard output and error if they are not terminals."""
    global _running
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stack.enter_context(_plain(name))
        before, _running = _running, stack
        try:
            yield
        finally:
            _running = before


def hide_libraries() -> None:
    """Hide libraries' progress bars, warnings and log lines below ERROR until the block of `plain_output` ends.

    A `Notice` or a warning of `bistil_kernels` is still shown, once, as a line on rank 0. Outside such a block, this
    function does nothing.
    """
    if _running is not None:
        _running.enter_context(_hidden())


@contextmanager
def _plain(name: str) -> Iterator[None]:
    stream = getattr(sys, name)
    if stream is None or stream.isatty():
        yield
        return
    wrapped = PlainStream(stream)
    setattr(sys, name, wrapped)
    try:
        yield
    finally:
        wrapped.finish()
        setattr(sys, name, stream)


@contextmanager
def _hidden() -> Iterator[None]:
    from datasets.utils import logging as datasets_bars  # slow to import, and --help needs neither
    from transformers.utils import logging as transformers_bars

    disabled = logging.root.manager.disable
    bars = [
        (transformers_bars.is_progress_bar_enabled, transformers_bars.enable_progress_bar),
        (datasets_bars.is_progress_bar_enabled, datasets_bars.enable_progress_bar),
    ]
    shown = [enable for is_enabled, enable in bars if is_enabled()]
    transformers_bars.disable_progress_bar()
    datasets_bars.disable_progress_bar()
    logging.disable(logging.WARNING)  # for every logger, also those that libraries make later
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", Notice)
        warnings.filterwarnings("always", "bistil_kernels: ")  # it imports nothing of ours, so it has no Notice
        warnings.showwarning = _NoticePrinter()
        try:
            yield
        finally:
            logging.disable(disabled)
            for enable in shown:
                enable()


class _NoticePrinter:
    """Replacement for `warnings.showwarning` that prints each text once, in one line, on rank 0."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, message: Warning | str, *args: Any, **kwargs: Any) -> None:
        text = one_line(str(message))
        if text not in self._printed and int(os.environ.get("RANK", "0")) == 0:
            say(f"note: {text}", error=True)
        self._printed.add(text)
