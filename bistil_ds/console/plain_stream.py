"""Output for pipes and log files: whole lines without control characters, and a progress bar's line only now and then.

A progress bar overwrites its line many times a second: it writes a carriage return and the new line. A log file would
keep every version.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TextIO

FIRST_SECONDS = 30.0  # least time between two lines of bars that are passed on
SHARE = 0.02  # in a long run, that least time is this share of the time since the start, so that the log stays short

CURSOR_UP = "\x1b[A"
SHORT = "[00:00<"  # part of the line that tqdm writes while a bar is less than a second old

_PARTS = re.compile(r"\r\n|[\r\n]|[^\r\n]+")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DRAWING = re.compile(r"(\d%)\|[^|]*\|")  # the part of tqdm's line that draws the bar


class PlainStream:
    """Text stream that passes complete lines on to another stream, which is no terminal, and flushes after each.

    A line that a progress bar overwrites is passed on only if enough time has passed since the last such line
    (FIRST_SECONDS, SHARE); otherwise it is dropped.

    Args:
        stream: the stream that gets the lines. Methods and attributes that this class lacks are looked up there.
        clock: returns the time in seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._start = self._last = clock()
        self._text = ""  # what was written since the last line end or carriage return
        self._overwrites = False  # whether `_text` began with a carriage return, as a bar's line does
        # The last line of a bar that a line end followed. It is held back, because the line end may mean two things:
        # the bar is complete, or the cursor moves down to another bar below.
        self._ended = ""
        self._after_bar = False  # whether the last text was a bar's line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        for part in _PARTS.findall(text):
            if part == "\r":
                self._end_bar()
                self._overwrites = True
            elif part in ("\n", "\r\n"):
                self._end_line()
            else:
                if self._overwrites and self._text:  # this part follows a bar's line without a carriage return
                    self._end_bar()
                self._text += part if plain(part) else ""
                self._ended = "" if CURSOR_UP in part else self._ended  # the cursor goes up: the bar goes on
        if not self._text:
            self._overwrites = False
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._stream.flush()

    def finish(self) -> None:
        """Pass on the text after the last line end."""
        self._emit(self._text)
        self._text, self._overwrites = "", False

    def _end_line(self) -> None:
        text, is_bar = self._text, self._overwrites
        if is_bar and (("%|" in text and "100%|" not in text) or SHORT in text):
            self._end_bar()  # another bar is drawn on the next line, or this one took less than a second
        elif is_bar:
            self._emit("")  # passes on the held-back line of an earlier bar
            self._text, self._overwrites, self._after_bar, self._ended = "", False, True, text
        elif text or not self._after_bar:  # else this line end only moves the cursor from one bar to the next
            self._text, self._after_bar = "", False
            self._emit(text + "\n")

    def _end_bar(self) -> None:
        """Pass on `_text`, a bar's line, if enough time has passed since the last such line; otherwise drop it."""
        text, now = self._text, self._clock()
        self._text, self._overwrites, self._after_bar = "", False, True
        if text.strip() and SHORT not in text and now - self._last >= max(FIRST_SECONDS, SHARE * (now - self._start)):
            self._last = now
            self._emit(text)

    def _emit(self, text: str) -> None:
        """Pass on the held-back line of a bar, if there is one, and then `text`."""
        for line in (self._ended, text):
            if line:
                self._stream.write(_DRAWING.sub(r"\1", plain(line)).rstrip() + "\n")
        self._ended = ""
        self._stream.flush()


def plain(text: str) -> str:
    """Return text without escape sequences and control characters, other than tabs and line ends."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))
