"""Bootstrap confidence intervals of scores and of differences between models that answered the same examples.

C counts of an example, K metrics, L languages, M models, N examples of a language, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
WEIGHTS_AT_ONCE = 1 << 22

Metrics = Callable[[np.ndarray], dict[str, float]]
Counts = Mapping[str, Mapping[str, np.ndarray]]  # model → language → [N, C]


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its confidence interval, None where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Percentile intervals from resampling the examples of each language, with replacement, `resamples` times.

    All models get the same resamples, so a difference between two is paired example by example. Languages are resampled
    apart, each from a random stream of its own: a language's intervals do not depend on which others there are. Test
    sets that translate one another are treated as independent in the macro average too.

    Args:
        counts: what `Task.counts` gave, in the same order of examples for every model of a language.
        metrics: `Task.metrics`.
        resamples: how many; at least 1.
        seed: 0 or above; the same seed gives the same intervals.
    """

    def __init__(self, counts: Counts, metrics: Metrics, *, resamples: int = 1000, seed: int = 0) -> None:
        self.models = list(counts)
        self.languages = list(counts[self.models[0]])
        of_language = [np.stack([counts[m][language] for m in self.models]) for language in self.languages]
        self.metrics = list(metrics(of_language[0][0].sum(0)))
        # The sum over all examples is kept as one more resample, the first.
        samples_LMRK = [
            _samples(counts_MNC, metrics, resamples, np.random.default_rng([seed, *language.encode()]))
            for language, counts_MNC in zip(self.languages, of_language)
        ]
        samples_LMRK.append(np.mean(samples_LMRK, axis=0))  # the macro average comes last
        self._samples_LMRK = np.stack(samples_LMRK)

    def score(self, metric: str, model: str, language: str | None = None) -> Estimate:
        """A model's score in a language, or (None) its macro average over the languages."""
        return _estimate(self._of(metric, model, language))

    def difference(self, metric: str, model: str, reference: str, language: str | None = None) -> Estimate:
        """The model's score minus the reference's, paired."""
        return _estimate(self._of(metric, model, language) - self._of(metric, reference, language))

    def _of(self, metric: str, model: str, language: str | None) -> np.ndarray:
        place = -1 if language is None else self.languages.index(language)
        samples_R: np.ndarray = self._samples_LMRK[place, self.models.index(model), :, self.metrics.index(metric)]
        return samples_R


def resampled_totals(counts_NC: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """float64 [R, C]: the counts of N examples drawn with replacement, summed, R times."""
    examples = len(counts_NC)
    shares_N = np.full(examples, 1 / examples)
    at_once = max(1, WEIGHTS_AT_ONCE // examples)
    totals = []
    for start in range(0, resamples, at_once):
        weights_RN = rng.multinomial(examples, shares_N, size=min(at_once, resamples - start))
        totals.append(weights_RN.astype(np.float64) @ counts_NC)
    return np.concatenate(totals)


def _samples(counts_MNC: np.ndarray, metrics: Metrics, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """[M, 1 + R, K]: the metrics of all examples, then of each resample."""
    models, examples, width = counts_MNC.shape
    counts_NX = counts_MNC.swapaxes(0, 1).reshape(examples, models * width)  # one row of all models' counts an example
    totals_RX = np.concatenate([counts_NX.sum(0, keepdims=True), resampled_totals(counts_NX, resamples, rng)])
    totals_RMC = totals_RX.reshape(-1, models, width)
    return np.array([[list(metrics(total).values()) for total in totals_RMC[:, m]] for m in range(models)])


def _estimate(samples_R: Sequence[float] | np.ndarray) -> Estimate:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(samples_R[1:], [tail, 100 - tail])
    return Estimate(float(samples_R[0]), float(low), float(high))
