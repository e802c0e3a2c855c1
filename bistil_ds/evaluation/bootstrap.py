"""Compute bootstrap confidence intervals of scores, and of score differences between models on the same examples.

Letters of axes: C counts for each example, K metrics, L languages, M models, N examples of one language, R resamples,
X = M·C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
WEIGHTS_AT_ONCE = 1 << 22  # how many entries of the matrix [R, N] are in memory at a time

Metrics = Callable[[np.ndarray], dict[str, float]]
Counts = Mapping[str, Mapping[str, np.ndarray]]  # model → language → [N, C]


@dataclass(frozen=True)
class Estimate:
    """A value, and the ends of its confidence interval; both ends are None if no interval was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Percentile bootstrap of scores. The examples of each language are drawn with replacement, `resamples` times.

    All models get the same resamples, so a difference between two models is paired example by example. Each language
    has its own random generator, so its intervals do not depend on the other languages. The macro average treats the
    test sets as independent, even if they are translations of each other.

    Args:
        counts: the results of `Task.counts`, with the examples of a language in the same order for every model.
        metrics: `Task.metrics`.
        resamples: number of resamples, at least 1.
        seed: 0 or above; the same seed gives the same intervals.
    """

    def __init__(self, counts: Counts, metrics: Metrics, *, resamples: int = 1000, seed: int = 0) -> None:
        self.models = list(counts)
        self.languages = list(counts[self.models[0]])
        of_language = [np.stack([counts[m][language] for m in self.models]) for language in self.languages]
        self.metrics = list(metrics(of_language[0][0].sum(0)))
        # Axis R has 1 + R entries: the metrics on all examples, then those on each resample. Axis L ends with the
        # macro average.
        samples_LMRK = [
            _samples(counts_MNC, metrics, resamples, np.random.default_rng([seed, *language.encode()]))
            for language, counts_MNC in zip(self.languages, of_language)
        ]
        samples_LMRK.append(np.mean(samples_LMRK, axis=0))  # the macro average comes last
        self._samples_LMRK = np.stack(samples_LMRK)

    def score(self, metric: str, model: str, language: str | None = None) -> Estimate:
        """Return a model's score in a language, or its macro average over the languages if `language` is None."""
        return _estimate(self._of(metric, model, language))

    def difference(self, metric: str, model: str, reference: str, language: str | None = None) -> Estimate:
        """Return the model's score minus the reference's, with an interval of the paired difference."""
        return _estimate(self._of(metric, model, language) - self._of(metric, reference, language))

    def _of(self, metric: str, model: str, language: str | None) -> np.ndarray:
        place = -1 if language is None else self.languages.index(language)
        samples_R: np.ndarray = self._samples_LMRK[place, self.models.index(model), :, self.metrics.index(metric)]
        return samples_R


def resampled_totals(counts_NC: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw N examples with replacement, R times, and return the sums of their counts, float64 [R, C]."""
    examples = len(counts_NC)
    shares_N = np.full(examples, 1 / examples)
    at_once = max(1, WEIGHTS_AT_ONCE // examples)
    totals = []
    for start in range(0, resamples, at_once):
        weights_RN = rng.multinomial(examples, shares_N, size=min(at_once, resamples - start))
        totals.append(weights_RN.astype(np.float64) @ counts_NC)
    return np.concatenate(totals)


def _samples(counts_MNC: np.ndarray, metrics: Metrics, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return float64 [M, 1 + R, K]: each model's metrics on all examples, then on each resample."""
    models, examples, width = counts_MNC.shape
    counts_NX = counts_MNC.swapaxes(0, 1).reshape(examples, models * width)  # a row holds the counts of all models
    totals_RX = np.concatenate([counts_NX.sum(0, keepdims=True), resampled_totals(counts_NX, resamples, rng)])
    totals_RMC = totals_RX.reshape(-1, models, width)
    return np.array([[list(metrics(total).values()) for total in totals_RMC[:, m]] for m in range(models)])


def _estimate(samples_R: Sequence[float] | np.ndarray) -> Estimate:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples_R[1:], [tail, 100 - tail])
    return Estimate(float(samples_R[0]), float(low), float(high))
