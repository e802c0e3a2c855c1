"""Judge BiStil's three claims by a rule, and say each verdict in a sentence with its figures.

`docs/claims.md` states the rule for readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bistil_ds.benchmarking.claims.quality import Interval, Quality

HOLDS, IN_PART, NOT_HERE = "holds", "holds in part", "does not hold here"
MINIMAL_LOSS = 5.0  # of the teacher's 100: the most that (a) calls a minimal loss
GREAT = 10.0  # of the teacher's 100: the least by which (c) calls a lead great


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim.

    Attributes:
        claim: `a`, `b` or `c`.
        verdict: HOLDS, IN_PART or NOT_HERE; "" if something was not measured.
        sentence: the claim and the verdict, with figures and 95 % intervals.
    """

    claim: str
    verdict: str
    sentence: str


def verdicts(content: Mapping[str, Any]) -> list[Verdict]:
    """Return the verdicts on (a), (b) and (c), from the content of a claims record."""
    quality, roles = quality_of(content), content["roles"]
    labels = {row["system"]: row["label"] for row in content["rows"]}
    student, scratch = roles["student"], roles["scratch"]
    name = labels.get(student, student)
    return [
        _keeps(content, quality, student, name),
        _beats(quality, student, name, {rival: labels.get(rival, rival) for rival in roles["rivals"]}),
        _far_above(quality, student, name, scratch, labels.get(scratch, scratch)),
    ]


def quality_of(content: Mapping[str, Any]) -> Quality:
    """Return the quality of all systems of a claims record."""
    return Quality(content["rows"], content["roles"]["teacher"], content["chance"])


def _keeps(content: Mapping[str, Any], quality: Quality, student: str, name: str) -> Verdict:
    claim = f"(a) {name} keeps its teacher's zero-shot quality with minimal loss while smaller and faster"
    kept = quality.kept(student)
    if kept is None:
        return _unmeasured("a", claim, "quality")
    size = _size(content["rows"], student, content["roles"]["teacher"])
    speed = content["speeds"]["of"].get(student) if content["speeds"] else None
    groups = len(quality.groups_of(student))
    pairs = "pair" if groups == 1 else "pairs"
    figures = [f"{kept} of 100 in {groups} {pairs} of task and target", f"{100 * size:.0f} % of the parameters"]
    figures.append(_times(speed) if speed else "speed not measured")
    least = 100 - MINIMAL_LOSS
    gains = size < 1 and speed is not None and speed["low"] > 1
    if kept.low >= least and gains:
        verdict = HOLDS
    elif kept.high >= least or (kept.value >= 100 - 2 * MINIMAL_LOSS and gains):
        verdict = IN_PART
    else:
        verdict = NOT_HERE
    return Verdict("a", verdict, f"{claim}: {verdict}. It keeps {'; '.join(figures)}.")


def _beats(quality: Quality, student: str, name: str, rivals: Mapping[str, str]) -> Verdict:
    claim = f"(b) {name} beats multilingually distilled models"
    leads = {label: quality.difference(student, rival) for rival, label in rivals.items()}
    measured = {label: lead for label, lead in leads.items() if lead is not None}
    if not measured:
        return _unmeasured("b", claim, "such a model")
    above = [lead.low > 0 for lead in measured.values()]
    verdict = HOLDS if all(above) and len(measured) == len(rivals) else IN_PART if any(above) else NOT_HERE
    figures = [f"{_signed(lead)} of the teacher's 100 over {label}" for label, lead in measured.items()]
    missing = [f"{label}: not measured" for label in leads if label not in measured]
    return Verdict("b", verdict, f"{claim}: {verdict}. {'; '.join([*figures, *missing])}.")


def _far_above(quality: Quality, student: str, name: str, scratch: str, label: str) -> Verdict:
    claim = f"(c) {name} greatly beats a bilingual model from scratch"
    lead = quality.difference(student, scratch)
    if lead is None:
        return _unmeasured("c", claim, label)
    verdict = HOLDS if lead.low >= GREAT else IN_PART if lead.low > 0 else NOT_HERE
    return Verdict("c", verdict, f"{claim}: {verdict}. {_signed(lead)} of the teacher's 100 over {label}.")


def _unmeasured(claim: str, sentence: str, what: str) -> Verdict:
    return Verdict(claim, "", f"{sentence}: {what} has not been measured yet.")


def _size(rows: Sequence[Mapping[str, Any]], student: str, teacher: str) -> float:
    """Return the student's parameters over the teacher's, averaged over the cells that both have."""
    sizes: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in rows:
        sizes.setdefault((row["task"], row["target"], row["seed"]), {})[row["system"]] = row["parameters"]
    shares = [each[student] / each[teacher] for each in sizes.values() if {student, teacher} <= set(each)]
    return sum(shares) / len(shares)


def _times(speed: Mapping[str, float]) -> str:
    return f"{speed['value']:.2f} times as fast ({speed['low']:.2f} to {speed['high']:.2f})"


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"
