"""Test that a pipe or a log file gets whole lines, no control characters, and a bar's line only now and then."""

from __future__ import annotations

import io
import itertools

import pytest
from tqdm import tqdm

from bistil_ds.console.plain_stream import FIRST_SECONDS, PlainStream


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def lines_of(*writes: str) -> list[str]:
    target = io.StringIO()
    stream = PlainStream(target)
    for text in writes:
        stream.write(text)
    stream.finish()
    return target.getvalue().splitlines()


def test_lines_come_through_as_they_are() -> None:
    assert lines_of("one\ntwo", " and a half\n", "\n", "a\ttab\r\n", "no end") == [
        *("one", "two and a half", "", "a\ttab", "no end"),
    ]


def test_control_characters_and_escape_sequences_do_not() -> None:
    assert lines_of("\x1b[31mred\x1b[0m\x07 and \x1b]0;title\x07plain\x9b\n") == ["red and plain"]


def test_a_line_is_written_at_once_and_whole() -> None:
    target = io.StringIO()
    stream = PlainStream(target)
    stream.write("half")
    assert target.getvalue() == ""
    stream.write(" a line\n")
    assert target.getvalue() == "half a line\n"


@pytest.fixture
def a_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock of tqdm take a second."""
    seconds = itertools.count(0.0)
    monkeypatch.setattr("tqdm.std.time", lambda: next(seconds))
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


@pytest.mark.usefixtures("a_second_passes")
def test_a_bar_leaves_its_last_line() -> None:
    target = io.StringIO()
    stream = PlainStream(target)
    for _ in tqdm(range(50), "reading", file=stream, mininterval=0):
        pass
    stream.finish()
    (line,) = target.getvalue().splitlines()
    assert line.startswith("reading: 100% 50/50 [")
    assert "|" not in line


def test_a_bar_of_less_than_a_second_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.std.time", lambda: 0.0)
    target = io.StringIO()
    stream = PlainStream(target)
    for _ in tqdm(range(50), "reading", file=stream, mininterval=0):
        pass
    stream.finish()
    assert target.getvalue() == ""


@pytest.mark.usefixtures("a_second_passes")
def test_a_bar_that_leaves_the_terminal_leaves_the_file_too() -> None:
    target = io.StringIO()
    stream = PlainStream(target)
    for _ in tqdm(range(50), file=stream, mininterval=0, leave=False):
        pass
    stream.finish()
    assert target.getvalue() == ""


@pytest.mark.usefixtures("a_second_passes")
def test_lines_written_above_a_bar_come_through() -> None:
    target = io.StringIO()
    stream = PlainStream(target)
    with tqdm(range(3), file=stream, mininterval=0) as bar:
        for step in bar:
            bar.write(f"step {step}", file=stream)
    stream.finish()
    assert target.getvalue().splitlines()[:3] == ["step 0", "step 1", "step 2"]
    assert len(target.getvalue().splitlines()) == 4


@pytest.mark.usefixtures("a_second_passes")
def test_a_bar_inside_a_bar_adds_no_line_for_each_of_its_steps() -> None:
    target = io.StringIO()
    stream = PlainStream(target)
    for _ in tqdm(range(4), "training", file=stream, mininterval=0):
        for _ in tqdm(range(10), "validating", file=stream, mininterval=0, leave=False):
            pass
    stream.write("the end\n")
    bar, end = target.getvalue().splitlines()
    assert bar.startswith("training: 100% 4/4")
    assert end == "the end"


def test_a_long_bar_gets_a_line_now_and_then_and_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    target, clock = io.StringIO(), Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    stream = PlainStream(target, clock)
    counts = []
    with tqdm(total=24 * 3600, file=stream, mininterval=0) as bar:
        for _ in range(24 * 60):
            clock.seconds += 60
            bar.update(60)
            counts.append(len(target.getvalue().splitlines()))
    assert counts[9] == 9  # a line for each update but the newest, as the pause of 30 seconds is over
    assert FIRST_SECONDS < 60
    assert 150 < counts[-1] < 300
    assert "%" in target.getvalue().splitlines()[5]
