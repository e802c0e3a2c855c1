"""Draw the claims: quality kept against speed-up, all tasks averaged, and below it each task alone."""

from __future__ import annotations

from dataclasses import asdict

from bistil_ds.benchmarking.claims.evaluations import quality_plots
from bistil_ds.benchmarking.claims.quality import Group, Quality
from bistil_ds.benchmarking.claims.tables import common_groups, is_evaluation, labels_of
from bistil_ds.benchmarking.claims.verdicts import quality_of
from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.benchmarking.harness.panels import Panels, Spot
from bistil_ds.benchmarking.harness.plots import Plot


def claims_plots(content: Content) -> list[Plot]:
    """Return the picture of a claims record, once speeds and scores are there; of an `evaluation.json`, its plots."""
    if is_evaluation(content):
        return [plot for row in content["rows"] for plot in quality_plots(row)]
    if not content["rows"] or not content["speeds"]:
        return []
    quality = quality_of(content)
    common = common_groups(content, quality)
    if not common:
        return []
    panels = {f"average of {', '.join(map(' '.join, common))}": _spots(content, quality, common)}
    for task in dict.fromkeys(group.task for group in quality.groups):
        groups = common_groups(content, quality, task)
        if groups:
            panels[f"{task}: {', '.join(group.target for group in groups)}"] = _spots(content, quality, groups)
    return [
        Panels(
            "Quality kept in the target language against speed",
            "times as fast as the teacher",
            "% of the teacher's score",
            panels,
        )
    ]


def _spots(content: Content, quality: Quality, groups: list[Group]) -> dict[str, Spot]:
    """Return label → spot of each system that was timed and scored in all these groups."""
    found = {}
    for name, label in labels_of(content).items():
        speed = content["speeds"]["of"].get(name)
        if speed is None or not set(groups) <= set(quality.groups_of(name)):
            continue
        kept = quality.kept(name, groups)
        assert kept is not None
        found[label] = Spot(_ends(**speed), _ends(**asdict(kept)))
    return found


def _ends(value: float, low: float, high: float) -> tuple[float, float, float]:
    """Return value and ends; an interval of resamples may miss its value by a little, and is then drawn up to it."""
    return value, min(value, low), max(value, high)
