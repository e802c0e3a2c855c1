"""Compute the quality that systems keep of their teacher's, and differences between systems, with paired intervals.

Letters of axes: R resamples of the examples (column 0 of an array is the value on all examples), S seeds.

The interval covers two chances: which examples are tested, and which seeds were run. In each resample the examples of
a test set are drawn with replacement, the same for all systems, and so are the seeds. A system and its teacher of one
seed stay together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bistil_ds.evaluation.bootstrap import CONFIDENCE

Row = Mapping[str, Any]


class Group(NamedTuple):
    """A task and the target language it is tested in."""

    task: str
    target: str


@dataclass(frozen=True)
class Interval:
    """A value, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


class Quality:
    """The scores of all systems in the target languages.

    Args:
        rows: the rows of a claims record.
        teacher: the system that counts as 100.
        chance: task → the score of guessing. A group in which the teacher's interval reaches down to it is left out.
    """

    def __init__(self, rows: Iterable[Row], teacher: str, chance: Mapping[str, float]) -> None:
        self.teacher = teacher
        self._scores: dict[tuple[str, Group], dict[int, np.ndarray]] = {}
        for row in rows:
            score = row["scores"][row["target"]]
            samples_R = np.array([score["value"], *score["resampled"]])
            self._scores.setdefault((row["system"], Group(row["task"], row["target"])), {})[row["seed"]] = samples_R
        self.groups: list[Group] = []
        self.too_low: list[Group] = []
        for system, group in self._scores:
            if system == teacher:
                low = _interval(self._mean([teacher], group)[0]).low
                (self.groups if low > chance.get(group.task, 0.0) else self.too_low).append(group)

    @property
    def systems(self) -> list[str]:
        """Return the systems that were scored, in the order of the rows."""
        return list(dict.fromkeys(system for system, _ in self._scores))

    def groups_of(self, *systems: str) -> list[Group]:
        """Return the groups in which all these systems, and the teacher, were scored with at least one common seed."""
        return [group for group in self.groups if self._seeds([*systems, self.teacher], group)]

    def score(self, system: str, group: Group) -> tuple[Interval, int] | None:
        """Return a system's score in a group, from 0 to 100, and its number of seeds; None if there is none."""
        seeds = self._seeds([system], group)
        return (_interval(100 * self._mean([system], group)[0]), len(seeds)) if seeds else None

    def kept(self, system: str, groups: Sequence[Group] | None = None) -> Interval | None:
        """Return the share of the teacher's score that a system keeps, teacher = 100, averaged over groups.

        Args:
            groups: groups of the system; default: all of its groups.

        Returns:
            None if there is no group.
        """
        groups = self.groups_of(system) if groups is None else groups
        return _interval(self._kept([system], groups)[0]) if groups else None

    def difference(self, system: str, other: str) -> Interval | None:
        """Return the quality kept by a system minus that by another, on their common groups and seeds."""
        if not (groups := self.groups_of(system, other)):
            return None
        ours_R, theirs_R = self._kept([system, other], groups)
        return _interval(ours_R - theirs_R)

    def _kept(self, systems: Sequence[str], groups: Sequence[Group]) -> list[np.ndarray]:
        """Return for each system [1 + R]: its quality kept, averaged over groups, on the seeds that all have."""
        found = []
        for group in groups:
            *means, teacher_R = self._mean([*systems, self.teacher], group)
            found.append([100 * mean_R / teacher_R for mean_R in means])
        return [np.mean(each, axis=0) for each in zip(*found)]

    def _mean(self, systems: Sequence[str], group: Group) -> list[np.ndarray]:
        """Return for each system [1 + R]: its score, averaged over the seeds that all systems have and that were drawn.

        Column 0 averages all those seeds. The drawn seeds are the same for all systems, and for all groups with as many
        seeds, because models of different groups share what their seed has made.
        """
        seeds = self._seeds(systems, group)
        scores = [np.stack([self._scores[system, group][seed] for seed in seeds]) for system in systems]
        resamples, count = scores[0].shape[1] - 1, len(seeds)
        drawn_RS = np.random.default_rng(count).multinomial(count, np.full(count, 1 / count), size=resamples)
        weights_SR = np.concatenate([np.ones((1, count)), drawn_RS]).T / count
        return [(each_SR * weights_SR).sum(0) for each_SR in scores]

    def _seeds(self, systems: Sequence[str], group: Group) -> list[int]:
        return sorted(set.intersection(*(set(self._scores.get((system, group), ())) for system in systems)))


def _interval(samples_R: np.ndarray) -> Interval:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples_R[1:], [tail, 100 - tail])
    return Interval(float(samples_R[0]), float(low), float(high))
