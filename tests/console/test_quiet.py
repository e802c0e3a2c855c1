"""Test what a command lets through: its own lines and notices, and what libraries say only with --verbose."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import dataclass

import pytest

from bistil_ds.console import cli
from bistil_ds.errors import Notice, Preempted


@dataclass
class Flags:
    """Flags of a command that has one."""

    number: int = 1


def command(*words: str) -> int:
    """Run a command that logs, warns, prints and draws, as commands and libraries do."""

    def main() -> None:
        ns = cli.parse(list(words), [Flags], "A command.")
        assert not hasattr(ns, "verbose")  # it is no setting of the run
        library = logging.getLogger("a library of the command")
        library.handlers = [logging.StreamHandler()]
        library.warning("a warning of a library")
        library.error("an error of a library")
        warnings.warn("a UserWarning of a library", stacklevel=1)
        for _ in range(2):
            warnings.warn("what the user\nshould know", Notice, stacklevel=1)
        print("10%\r\x1b[1mthe result\x1b[0m")

    return cli.run(main)


def test_libraries_are_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    out, err = capfd.readouterr()
    assert out == "the result\n"
    assert err.splitlines() == ["an error of a library", "note: what the user should know"]


@pytest.mark.parametrize("words", [["--verbose"], ["--verbose=true"]])
def test_verbose_lets_them_speak(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert command(*words) == 0
    assert "a warning of a library" in capfd.readouterr().err
    assert "a UserWarning of a library" in [str(one.message) for one in said]


def test_a_notice_is_printed_on_rank_0_only(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert command() == 0
    assert "note" not in capfd.readouterr().err


def test_all_is_as_before_once_a_command_has_ended(capfd: pytest.CaptureFixture[str]) -> None:
    streams, level, filters = (sys.stdout, sys.stderr), logging.root.manager.disable, list(warnings.filters)

    def fails() -> None:
        cli.parse([], [Flags], "A command.")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(fails)
    assert ((sys.stdout, sys.stderr), logging.root.manager.disable, list(warnings.filters)) == (streams, level, filters)


def test_a_run_that_a_signal_stopped_says_so_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    def stopped() -> None:
        raise Preempted("stopped by SIGTERM")

    assert cli.run(stopped) == 75
    assert capfd.readouterr().err == "stopped by SIGTERM\n"
