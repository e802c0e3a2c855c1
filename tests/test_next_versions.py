"""Test what `make test-next` upgrades, and the report that it prints after the suite, most of all after failures."""

from __future__ import annotations

from pathlib import Path

import next_versions
import pytest
from next_versions import UNKNOWN, advice, culprit, install, pins, report
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
    monkeypatch.setattr(next_versions.subprocess, "run", lambda words, **how: ran.append(words))
    install(names, with_torch)
    (words,) = ran
    asked = {word for word in words[words.index("--upgrade") :] if word.startswith("torch")}
    assert asked == {"torch" if moves else f"torch=={pins()['torch']}"}


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
    assert culprit(traceback, message) == library


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
    monkeypatch.setattr(next_versions, "version", lambda name: "5.25.1")
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
