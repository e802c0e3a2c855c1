"""Test the quality that systems keep, its intervals, and the verdicts on the claims."""

from __future__ import annotations

from typing import Any

import pytest

from bistil_ds.benchmarking.claims import verdicts as rule
from bistil_ds.benchmarking.claims.quality import Group, Interval, Quality


def rows(**systems: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """Return rows of systems: target → for each seed, the value and its resamples."""
    return [
        {
            "system": system,
            "task": "ner",
            "target": target,
            "seed": seed,
            "scores": {target: {"value": values[0], "resampled": values[1:]}},
        }
        for system, found in systems.items()
        for target, seeds in found.items()
        for seed, values in enumerate(seeds)
    ]


def test_quality_is_relative_to_the_teacher_of_the_same_resample_and_seed() -> None:
    teacher = {"de": [[0.5, 0.4, 0.6]], "ha": [[0.4, 0.4, 0.4]]}
    half = {target: [[value / 2 for value in seed] for seed in seeds] for target, seeds in teacher.items()}
    quality = Quality(rows(teacher=teacher, half=half), "teacher", {})
    assert quality.kept("half") == Interval(50.0, 50.0, 50.0)  # as noise that both have cancels out
    assert quality.kept("teacher") == Interval(100.0, 100.0, 100.0)
    assert quality.difference("teacher", "half") == Interval(50.0, 50.0, 50.0)
    assert quality.score("half", Group("ner", "de")) == (Interval(25.0, pytest.approx(20.25), pytest.approx(29.75)), 1)


def test_seeds_add_to_the_interval_and_only_common_ones_are_compared() -> None:
    teacher = {"de": [[0.5] * 41, [0.5] * 41, [0.5] * 41]}
    uneven = {"de": [[0.4] * 41, [0.5] * 41, [0.3] * 41]}
    first = {"de": [[0.4] * 41]}
    quality = Quality(rows(teacher=teacher, uneven=uneven, first=first), "teacher", {})
    kept = quality.kept("uneven")
    assert kept is not None
    assert kept.value == pytest.approx(80)
    assert kept.low < 70 < 90 < kept.high
    assert quality.difference("uneven", "first") == Interval(0.0, 0.0, 0.0)


def test_seeds_are_the_same_chance_in_all_targets() -> None:
    """A seed that is bad in one target is bad in the other, so that averaging does not narrow the interval."""
    teacher = {target: [[0.5] * 401] * 3 for target in ("de", "ha", "tr")}
    student = {target: [[0.4] * 401, [0.5] * 401, [0.3] * 401] for target in ("de", "ha", "tr")}
    quality = Quality(rows(teacher=teacher, student=student), "teacher", {})
    assert quality.kept("student") == quality.kept("student", [Group("ner", "de")])


def test_a_language_in_which_the_teacher_guesses_does_not_count() -> None:
    teacher = {"de": [[0.5, 0.48, 0.52]], "ha": [[0.35, 0.32, 0.38]]}
    quality = Quality(rows(teacher=teacher, student=teacher), "teacher", {"ner": 1 / 3})
    assert quality.groups_of("student") == [Group("ner", "de")]
    assert quality.too_low == [Group("ner", "ha")]


@pytest.mark.parametrize(
    ("student", "rival", "scratch", "found"),
    [
        (0.98, 0.9, 0.8, ["holds", "holds", "holds"]),
        (0.92, 0.9, 0.85, ["holds in part", "holds", "holds in part"]),
        (0.7, 0.75, 0.7, ["does not hold here", "does not hold here", "does not hold here"]),
    ],
)
def test_the_rule_of_the_verdicts(student: float, rival: float, scratch: float, found: list[str]) -> None:
    def scored(share: float) -> dict[str, list[list[float]]]:
        return {"de": [[0.5 * share * change for change in (1, 0.99, 1.01)]]}

    made = rows(teacher=scored(1), k2=scored(student), rival=scored(rival), scratch=scored(scratch))
    sizes = {"teacher": 10, "k2": 5, "rival": 5, "scratch": 5}
    for row in made:
        row |= {"label": row["system"], "parameters": sizes[row["system"]]}
    roles = {"teacher": "teacher", "student": "k2", "rivals": ["rival"], "scratch": "scratch"}
    speeds = {"of": {"k2": {"value": 2.0, "low": 1.9, "high": 2.1}}}
    content = {"rows": made, "roles": roles, "chance": {}, "speeds": speeds}
    assert [each.verdict for each in rule.verdicts(content)] == found
    partly = {**content, "roles": {**roles, "rivals": ["rival", "another"]}}
    assert rule.verdicts(partly)[1].verdict != rule.HOLDS  # one was not scored
    slow = {"of": {"k2": {"value": 1.0, "low": 0.9, "high": 1.1}}}
    assert rule.verdicts({**content, "speeds": slow})[0].verdict != rule.HOLDS
    left = {**content, "rows": [row for row in made if row["system"] == "teacher"]}
    assert [each.verdict for each in rule.verdicts(left)] == ["", "", ""]
