"""Compute bootstrap confidence intervals of scores, and of score differences between models on the same examples.

Letters of axes: C counts for each example, M models, N examples of one language, R resamples. The weight of an example
in a resample is the number of times it was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
WEIGHTS_AT_ONCE = 1 << 22  # how many entries of the matrix [R, N] are in memory at a time

Counts = Mapping[str, Mapping[str, np.ndarray]]  # model → language → [N, C]
# counts [N, C], weights [R, N] → metric → [R], all float64
Statistic = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Estimate:
    """A value, and the ends of its confidence interval; both ends are None if no interval was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Percentile bootstrap of scores. The examples of each language are drawn with replacement, `resamples` times.

    All models get the same resamples, so a difference between two models is paired example by example. Each language
    has its own random generator, so its intervals do not depend on the other languages. The macro average of a metric
    is over the languages that have the metric. It treats the test sets as independent, even if they are translations of
    each other.

    Args:
        counts: the counts of each example, with the examples of a language in the same order for every model.
        statistics: language → function that computes its metrics; NaN for a metric that a model does not have.
        resamples: number of resamples, at least 1.
        seed: 0 or above; the same seed gives the same intervals.
    """

    def __init__(
        self, counts: Counts, statistics: Mapping[str, Statistic], *, resamples: int = 1000, seed: int = 0
    ) -> None:
        self.models = list(counts)
        # Each array [M, 1 + R] begins with the metric on all examples, which the metric on each resample follows.
        self._samples: dict[tuple[str, str | None], np.ndarray] = {}
        of_metric: dict[str, list[np.ndarray]] = {}
        for language, statistic in statistics.items():
            counts_MNC = [counts[model][language] for model in self.models]
            rng = np.random.default_rng([seed, *language.encode()])
            for metric, samples_MR in _samples(counts_MNC, statistic, resamples, rng).items():
                self._samples[metric, language] = samples_MR
                of_metric.setdefault(metric, []).append(samples_MR)
        for metric, samples in of_metric.items():
            self._samples[metric, None] = np.mean(samples, axis=0)

    def score(self, metric: str, model: str, language: str | None = None) -> Estimate | None:
        """Return a model's score in a language, or its macro average over the languages if `language` is None.

        The result is None if the language, or the model, does not have the metric.
        """
        return _estimate(self._of(metric, model, language))

    def difference(self, metric: str, model: str, reference: str, language: str | None = None) -> Estimate | None:
        """Return the model's score minus the reference's, with an interval of the paired difference."""
        return _estimate(self._of(metric, model, language) - self._of(metric, reference, language))

    def resampled(self, metric: str, model: str, language: str) -> np.ndarray:
        """Return float64 [R]: a model's score in each resample; NaN if it lacks the metric.

        The resamples depend on the seed, the language and the number of examples alone. So scores of models that were
        evaluated apart, on the same examples, are paired resample by resample.
        """
        return self._of(metric, model, language)[1:]

    def _of(self, metric: str, model: str, language: str | None) -> np.ndarray:
        samples_MR = self._samples.get((metric, language))
        return np.full(2, np.nan) if samples_MR is None else samples_MR[self.models.index(model)]


def of_totals(metrics: Callable[[np.ndarray], Mapping[str, float]]) -> Statistic:
    """Return the statistic of metrics that need only the sum of the counts of all examples, such as `Task.metrics`."""

    def statistic(counts_NC: np.ndarray, weights_RN: np.ndarray) -> Mapping[str, np.ndarray]:
        found = [metrics(totals_C) for totals_C in weights_RN @ counts_NC]
        return {metric: np.array([each[metric] for each in found]) for metric in found[0]}

    return statistic


def resampled_weights(examples: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw N examples with replacement, R times; yield the weights, whole numbers in float64, in blocks [r, N]."""
    shares_N = np.full(examples, 1 / examples)
    at_once = max(1, WEIGHTS_AT_ONCE // examples)
    for start in range(0, resamples, at_once):
        yield rng.multinomial(examples, shares_N, size=min(at_once, resamples - start)).astype(np.float64)


def _samples(
    counts_MNC: list[np.ndarray], statistic: Statistic, resamples: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return for each metric float64 [M, 1 + R]: each model's value on all examples, then on each resample."""
    examples = len(counts_MNC[0])
    found: dict[str, list[list[np.ndarray]]] = {}
    for weights_RN in (np.ones((1, examples)), *resampled_weights(examples, resamples, rng)):
        parts = [statistic(counts_NC, weights_RN) for counts_NC in counts_MNC]
        for metric in parts[0]:
            found.setdefault(metric, []).append([part[metric] for part in parts])
    return {metric: np.concatenate(blocks, axis=1) for metric, blocks in found.items()}


def _estimate(samples_R: np.ndarray) -> Estimate | None:
    if np.isnan(samples_R[0]):
        return None
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples_R[1:], [tail, 100 - tail])
    return Estimate(float(samples_R[0]), float(low), float(high))
