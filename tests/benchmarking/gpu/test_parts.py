"""Test how the time is divided among parts, in which order they run, and what of each is kept."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from bistil_ds.benchmarking.gpu.child import Event
from bistil_ds.benchmarking.gpu.parts import PARTS, Part, allot
from bistil_ds.benchmarking.gpu.running import run_parts

FIRST, SECOND, THIRD = (
    Part(key, f"part {key}", "", 10.0, share) for key, share in (("a", 0.0), ("b", 1.0), ("c", 3.0))
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_part_gets_what_it_needs_and_its_share_of_what_is_left_over() -> None:
    assert allot([FIRST, SECOND, THIRD], 30.0) == 10.0
    assert allot([FIRST, SECOND, THIRD], 70.0) == 10.0, "its share is 0"
    assert allot([SECOND, THIRD], 60.0) == 20.0
    assert allot([THIRD], 50.0) == 50.0
    assert allot([FIRST], 50.0) == 10.0
    assert allot([SECOND, THIRD], 12.0) == 10.0, "the first of the parts comes first"
    assert allot([SECOND, THIRD], 9.9) is None


@pytest.mark.parametrize("minutes", [4, 9, 60])
def test_the_sensible_times_leave_no_part_out(minutes: int) -> None:
    left = 60.0 * minutes - 10
    for place, part in enumerate(PARTS):
        budget = allot(PARTS[place:], left)
        assert budget is not None
        assert budget >= part.needs
        left -= budget
    assert left >= 0
    assert [part.key for part in PARTS] == list("abcdefg")


def run(takes: dict[str, float], seconds: float, parts: tuple[Part, ...] = (FIRST, SECOND, THIRD)) -> list[Any]:
    """Run parts that take these seconds of a made-up clock, and return their rows."""
    clock, rows, saved = Clock(), [], []
    told: list[float] = []

    def launch(part: Part, budget: float) -> Generator[list[Event]]:
        saved_before = len(saved)
        yield [{"finding": {"collected": 1}}]
        assert len(saved) > saved_before, "a finding is saved before the next one is waited for"
        clock.now += takes[part.key]
        yield [{"record": f"{part.key}.json"}, {"ended": {"status": "done", "why": "", "error": []}}]

    run_parts(parts, seconds, launch, rows, lambda: saved.append(1), lambda done, what: told.append(done), clock)
    assert told == sorted(told)
    assert all(0 <= done <= 1 for done in told)
    return rows


def test_parts_run_in_order_and_time_that_one_leaves_goes_to_the_later_ones() -> None:
    rows = run({"a": 2.0, "b": 12.0, "c": 1.0}, 70.0)
    assert [row["part"] for row in rows] == ["a", "b", "c"]
    assert [row["status"] for row in rows] == ["done"] * 3
    assert [row["budget"] for row in rows] == [10.0, 10.0 + 48 / 4, 56.0]
    assert [row["seconds"] for row in rows] == [2.0, 12.0, 1.0]
    assert rows[1]["findings"] == [{"collected": 1}]
    assert rows[1]["records"] == ["b.json"]


def test_a_part_for_which_no_time_is_left_is_skipped_with_a_word() -> None:
    rows = run({"a": 10.0, "b": 10.0, "c": 0.0}, 25.0)
    assert [row["status"] for row in rows] == ["done", "done", "skipped"]
    assert rows[2]["why"] == "5 s were left, and it needs 10"
    assert rows[2]["budget"] is None


def test_a_smaller_part_may_still_fit_when_a_larger_one_does_not() -> None:
    rows = run({"a": 1.0, "b": 1.0}, 12.0, (Part("a", "large", "", 60.0), Part("b", "small", "", 5.0)))
    assert [row["status"] for row in rows] == ["skipped", "done"]


def test_an_interruption_leaves_what_was_found_and_says_so() -> None:
    rows: list[Any] = []

    def launch(part: Part, budget: float) -> Generator[list[Event]]:
        yield [{"finding": {"collected": 7}}]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_parts([FIRST, SECOND], 60.0, launch, rows, lambda: None, lambda done, what: None)
    (row,) = rows
    assert (row["status"], row["why"]) == ("stopped", "interrupted")
    assert row["findings"] == [{"collected": 7}]
    assert row["seconds"] is not None
