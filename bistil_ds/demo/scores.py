"""The scores of the demo: those of one seed, their means over seeds, and in how many seeds each claim holds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bistil_ds.benchmarking.harness.samples import t_quantile
from bistil_ds.demo.pipeline import MASKED, TRANSLATIONS

MODELS = {
    "teacher": "MMT, teacher",
    "student": "student",
    "no_phase_1": "student without phase 1",
    "scratch": "bilingual, from scratch",
}
# the model that the student is compared with → what the difference shows
DIFFERENCES = {
    "teacher": "student minus teacher",
    "no_phase_1": "what phase 1 buys",
    "scratch": "what the MMT buys",
}
SIZES = ("parameters", "bytes", "examples_per_second")

Range = Mapping[str, float]  # value, and the ends low and high of its 95 % interval
Scores = Mapping[str, Mapping[str, Range]]  # measure, such as "ner tr" → row (see `scores_of`) → range


@dataclass(frozen=True)
class Claim:
    """A claim about one seed: in the target language, the student's score minus another model's is above `above`."""

    text: str
    other: str
    above: float


CLAIMS = (
    Claim("near its teacher: less than 5 points below", "teacher", -0.05),
    Claim("far above scratch: by more than 10 points", "scratch", 0.10),
    Claim("above the student without phase 1", "no_phase_1", 0.0),
)


def scores_of(evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Range]]:
    """Return the scores of one seed from its `evaluation.json` files, by task; their reference is the student.

    A measure is a task and a language, or a pair of languages ("embed en-tr"). Its rows are the models and, called
    "student - MODEL", the student's score minus that of another model. The intervals come from the bootstrap of the
    test sentences; those of differences are paired.
    """
    found: dict[str, dict[str, Range]] = {}
    for task, evaluation in evaluations.items():
        metric = evaluation["metric"]
        for language in evaluation["test_sets"]:
            cells = {name: model["languages"][language] for name, model in evaluation["models"].items()}
            rows: dict[str, Range] = {name: cells[name]["score"][metric] for name in MODELS}
            for other in DIFFERENCES:
                rows[f"student - {other}"] = _negative(cells[other]["difference_to_reference"][metric])
            found[f"{task} {language}"] = rows
    return found


def sizes_of(evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the parameters, bytes and speed of each model with its task head."""
    (evaluation,) = (found for task, found in evaluations.items() if task not in (MASKED, TRANSLATIONS))
    return {name: {size: evaluation["models"][name][size] for size in SIZES} for name in MODELS}


def mean_of(seeds: Sequence[Scores]) -> Scores:
    """Return the means over seeds, with intervals from the t distribution; of one seed, return its own scores."""
    if len(seeds) == 1:
        return seeds[0]
    return {
        measure: {row: _mean([one[measure][row]["value"] for one in seeds]) for row in rows}
        for measure, rows in seeds[0].items()
    }


def held(seeds: Sequence[Scores], target: str) -> dict[str, dict[str, int]]:
    """Return claim → measure in the target language → number of seeds in which the claim holds."""
    measures = [measure for measure in seeds[0] if measure.endswith((f" {target}", f"-{target}"))]
    return {
        claim.text: {
            measure: sum(one[measure][f"student - {claim.other}"]["value"] > claim.above for one in seeds)
            for measure in measures
        }
        for claim in CLAIMS
    }


def _mean(values: Sequence[float]) -> Range:
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return {"value": mean, "low": mean - half, "high": mean + half}


def _negative(found: Range) -> Range:
    return {"value": -found["value"], "low": -found["high"], "high": -found["low"]}
