"""Test what `make test-next` and `make test-lowest` install, and the report that follows the suite."""

from __future__ import annotations

from pathlib import Path

import other_versions
import pytest
from other_versions import (
    UNKNOWN,
    advice,
    advice_below,
    bounded,
    by_name,
    culprit,
    install_lowest,
    install_newest,
    pins,
    report,
    requirements,
)
from packaging.requirements import Requirement

THROUGH_TWO = """bistil_ds/export.py:3: in save
../site-packages/transformers/a.py:9: in load
../site-packages/torch/b.py:1: KeyError"""


@pytest.mark.parametrize(
    ("names", "with_torch", "moves"),
    [
        ([], False, False),
        (["datasets"], False, False),
        (["datasets"], True, True),
        ([], True, True),
        (["torch"], False, True),
    ],
)
def test_torch_stays_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, names: list[str], with_torch: bool, moves: bool
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(other_versions.subprocess, "run", lambda words, **how: ran.append(words))
    install_newest(names, with_torch)
    (words,) = ran
    asked = {word for word in words[words.index("--upgrade") :] if word.startswith("torch")}
    assert asked == {"torch" if moves else f"torch=={pins()['torch']}"}


def test_the_lowest_releases_of_what_we_need_are_installed_and_tools_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(other_versions.subprocess, "run", lambda words, **how: ran.append(words))
    install_lowest()
    resolve, libraries, ours = ran
    chosen = resolve[resolve.index("--output-file") + 1]
    assert resolve[resolve.index("--resolution") + 1] == "lowest-direct"
    assert libraries[libraries.index("--requirement") + 1] == chosen
    assert {word for word in libraries if word.startswith("pytest")} == {
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
    }
    assert "--no-deps" in ours  # which would bring newer ones


@pytest.mark.parametrize(
    ("traceback", "message", "library"),
    [
        (THROUGH_TWO, "KeyError: 3", "torch"),
        ("site-packages/torch/b.py:1\nsite-packages/_pytest/c.py:2", "KeyError: 3", "torch"),
        ("bistil_ds/export.py:3: AttributeError", "module 'triton.language' has no attribute 'dot'", "triton"),
        ("tests/test_export.py:3: AssertionError", "assert 2 == 3", UNKNOWN),
    ],
)
def test_a_failure_is_laid_to_the_library_that_its_traceback_ends_in(
    traceback: str, message: str, library: str
) -> None:
    assert culprit(traceback, message, set(bounded())) == library


@pytest.mark.parametrize(
    ("bound", "broken", "words"),
    [
        ("<5.26", {}, "stays"),
        ("<5.25", {}, "could move to <5.26"),
        ("<5.25", {"torch": ["a"]}, "could move to <5.26"),
        ("<5.25", {"transformers": ["a", "b"]}, "stays: 2 failed in it"),
        ("<5.25", {UNKNOWN: ["a"]}, "could move to <5.26 once 1 failures that name no library are understood"),
    ],
)
def test_a_bound_may_move_past_a_version_in_which_nothing_failed(
    monkeypatch: pytest.MonkeyPatch, bound: str, broken: dict[str, list[str]], words: str
) -> None:
    monkeypatch.setattr(other_versions, "version", lambda name: "5.25.1")
    assert advice("transformers", Requirement(f"transformers{bound}"), broken) == words


def test_the_report_lists_failed_tests_by_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "suite.xml"
    suite.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_a" name="test_good"/>'
        '<testcase classname="tests.test_a" name="test_bad"><failure message="KeyError: 3&#10;more">'
        "bistil_ds/a.py:1: in f\nsite-packages/datasets/b.py:7: KeyError</failure></testcase></testsuite></testsuites>"
    )

    code = report(suite)

    printed = capsys.readouterr().out
    assert code == 1
    assert "datasets: 1 failed\n  tests.test_a::test_bad: KeyError: 3\n" in printed
    assert "test_good" not in printed


def test_a_suite_that_did_not_end_is_no_success(tmp_path: Path) -> None:
    assert report(tmp_path / "suite.xml") == 2


def test_the_report_of_the_lowest_releases_names_libraries_without_an_upper_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "suite.xml"
    suite.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_a" name="test_bad"><failure message="KeyError: 3">'
        "bistil_ds/a.py:1: in f\nsite-packages/pyarrow/b.py:7: KeyError</failure></testcase></testsuite></testsuites>"
    )
    assert report(suite, lowest=True) == 1
    printed = capsys.readouterr().out
    assert "pyarrow: 1 failed\n  tests.test_a::test_bad: KeyError: 3\n" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith("pyarrow ")]
    assert f">={pyarrow_bound()}" in row
    assert row.endswith("should rise: 1 failed in it")


def pyarrow_bound() -> str:
    (only,) = by_name(requirements())["pyarrow"].specifier
    return only.version


@pytest.mark.parametrize(
    ("here", "broken", "words"),
    [
        ("5.17.0", {}, "stays"),
        ("5.17.1", {}, "stays, or rises to what is here: nothing lower is published, or goes with the others"),
        ("5.17.0", {"transformers": ["a"]}, "should rise: 1 failed in it"),
        ("5.17.0", {"torch": ["a"]}, "stays"),
    ],
)
def test_a_lower_bound_stays_where_that_version_was_tried(
    monkeypatch: pytest.MonkeyPatch, here: str, broken: dict[str, list[str]], words: str
) -> None:
    monkeypatch.setattr(other_versions, "version", lambda name: here)
    assert advice_below("transformers", Requirement("transformers>=5.17"), broken) == words
