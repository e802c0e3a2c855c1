"""Part (g): run the project's tests that need a GPU."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.gpu.setting import Emit, Setting, Skip
from bistil_ds.benchmarking.harness.result_file import REPOSITORY

MARK = "pytest.mark.gpu"


def measure(setting: Setting, emit: Emit) -> None:
    """Emit how many tests there are, then the outcome of each; without a GPU, as in a rehearsal, all skip themselves.

    Raises:
        Skip: there are no tests here, or no pytest.
    """
    files = files_with_tests(REPOSITORY / "tests")
    if not files:
        raise Skip("the tests are not here: run it from a clone")
    if find_spec("pytest") is None:
        raise Skip("pytest is not installed")
    import pytest

    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # they are of a pytest that runs this process
    words = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(REPOSITORY), *map(str, files)]
    pytest.main(words, plugins=[Tally(setting, emit)])


def files_with_tests(folder: Path) -> list[Path]:
    """Return the files of tests in a folder that name the mark of tests for a GPU."""
    return sorted(path for path in folder.rglob("test_*.py") if MARK in path.read_text(encoding="utf-8"))


class Tally:
    """A plugin of pytest that emits the outcome of each test, and ends the run when the time is out."""

    def __init__(self, setting: Setting, emit: Emit) -> None:
        self.setting, self.emit = setting, emit

    def pytest_collection_finish(self, session: Any) -> None:
        self.emit.finding({"collected": len(session.items)})

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.emit.finding({"test": report.nodeid, "outcome": "failed", "error": _last_line(report)})

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Emit a test's outcome: that of its call, or of its setup or teardown if that failed or was skipped."""
        if report.when == "call" or not report.passed:
            found = {"test": report.nodeid, "outcome": report.outcome, "seconds": report.duration}
            self.emit.finding({**found, "error": _last_line(report)} if report.failed else found)

    def pytest_runtest_protocol(self, item: Any) -> None:
        if self.setting.left() <= 0:
            item.session.shouldstop = "its time was out"


def _last_line(report: Any) -> str:
    """Return the last line of a failure that says what was wrong."""
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return lines[-1][1:].strip()[:300] if lines else report.longreprtext.strip()[-300:]
