"""Test that made-up input is read rightly or refused in one line, and that the judge of this sees every fault.

`make test-fuzz` does the same with a hundred thousand inputs.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fuzz.campaign import campaign, keep, try_apart, try_here
from fuzz.case import Case
from fuzz.families import FAMILIES
from fuzz.family import Family
from fuzz.judge import FOUND, judge

import bistil_ds
from bistil_ds.errors import InputError

KEPT = sorted((Path(__file__).parent / "support" / "fuzz" / "found").glob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_an_input_that_was_a_fault_once_is_none_now(path: Path, tmp_path: Path) -> None:
    case = Case.load(path)
    verdict = judge(FAMILIES[case.family], case, tmp_path / "case")
    assert verdict.outcome != FOUND, f"{verdict.where}\n{verdict.said}"


def test_some_inputs_of_each_family_are_read_rightly_or_refused(tmp_path: Path) -> None:
    patient = partial(try_here, longest=60.0)  # on a busy core the slowest takes almost as long as a hang may
    tallies = {tally.family: tally for tally in campaign(list(FAMILIES.values()), 300, 0, patient)}
    assert tallies.keys() == FAMILIES.keys()
    for tally in tallies.values():
        assert not tally.findings, tally.findings
        assert tally.refused
        assert tally.accepted


def test_a_user_who_is_not_there_is_no_error() -> None:
    package = Path(bistil_ds.__file__).parent
    asking = [path.name for path in package.rglob("*.py") if ".expanduser()" in path.read_text(encoding="utf-8")]
    assert asking == [], "Path.expanduser raises RuntimeError for ~name; use user_path"


def faulty(fault: Callable[[], Any]) -> Family:
    return Family("faulty", 1, lambda rng: ({"a": rng.randbytes(9)}, {}), lambda folder, about: fault())


def refuse_without_a_word() -> None:
    raise InputError("")


def work_on() -> None:
    while True:
        time.perf_counter()


def leave() -> None:
    raise SystemExit(3)


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "error": (lambda: {}["x"], "KeyError in"),
    "exit": (leave, "SystemExit in"),
    "hang": (work_on, "HungError in"),
    "memory": (lambda: bytearray(b"x" * 60_000_000), "memory grew by"),
    "no message": (refuse_without_a_word, "refused without a word"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found(tmp_path: Path, name: str) -> None:
    fault, where = FAULTS[name]
    case = Case("faulty", {"a": b"x"})
    longest = 0.2 if name == "hang" else 10.0
    verdict = judge(faulty(fault), case, tmp_path / "case", longest=longest, largest=50_000_000)
    assert verdict.outcome == FOUND
    assert verdict.where.startswith(where)


def test_an_input_that_ends_the_process_is_found_and_kept(tmp_path: Path) -> None:
    (tmp_path / "round").mkdir()
    tally = try_apart(faulty(lambda: os.kill(os.getpid(), signal.SIGKILL)), 0, 50, tmp_path / "round")
    assert list(tally.findings) == ["the process ended with -9"]
    (path,) = keep(tally, tmp_path / "found")
    assert Case.load(path) == tally.findings["the process ended with -9"][0]


def test_a_round_counts_what_its_process_judged(tmp_path: Path) -> None:
    tally = try_apart(faulty(lambda: None), 0, 50, tmp_path)
    assert (tally.inputs, tally.accepted, tally.findings) == (50, 50, {})
