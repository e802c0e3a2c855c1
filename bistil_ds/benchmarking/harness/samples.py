"""Compute statistics of samples: percentiles, means and ratios with their intervals, and whether two results differ.

A round is one turn of every subject, and each turn gives a list of samples. All samples of a turn are taken while the
machine is in about the same state. So intervals are computed from one value per round, not from every sample.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # not from scipy.stats, which takes each measured process a second to import

from bistil_ds.benchmarking.harness.timing import paired_ratio

Rounds = Sequence[Sequence[float]]  # for each round, the samples of one subject
CONFIDENCE = 0.95
RESAMPLES = 2000  # random draws of rounds for the interval of `unpaired_ratio`
FEWEST_ROUNDS = 6  # fewer give no 95 % interval of a median


@dataclass(frozen=True)
class Summary:
    """Number, percentiles and mean of samples in any unit; `mean_low` to `mean_high` is the mean's 95 % interval.

    With one round only, both ends are None, because one round does not show how far rounds differ.
    """

    count: int
    p50: float
    p90: float
    p99: float
    mean: float
    mean_low: float | None
    mean_high: float | None


@dataclass(frozen=True)
class Ratio:
    """A median ratio and its interval, from `ratio` or `unpaired_ratio`; both ends are None if there is no interval."""

    median: float
    low: float | None = None
    high: float | None = None

    def verdict(self, noise: float = 0.0) -> str:
        """Return `inside the noise` if the interval, widened on both sides by a relative `noise`, holds 1.

        Otherwise return `higher` or `lower`. A ratio without an interval is `of unknown noise`, unless it is exactly 1.
        """
        if self.low is None or self.high is None:
            return "inside the noise" if self.median == 1 else "of unknown noise"
        if self.low > 1 + noise:
            return "higher"
        return "lower" if self.high < 1 / (1 + noise) else "inside the noise"


def summarise(rounds: Rounds) -> Summary:
    """Summarise all samples; the mean's interval comes from the rounds' means and the t distribution."""
    samples = [sample for one in rounds for sample in one]
    means = [statistics.fmean(one) for one in rounds]
    mean, half = statistics.fmean(samples), None
    if len(means) > 1:
        half = t_quantile(len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
    p50, p90, p99 = np.quantile(samples, (0.5, 0.9, 0.99)).tolist()
    ends = (None, None) if half is None else (mean - half, mean + half)
    return Summary(len(samples), p50, p90, p99, mean, *ends)


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper end of the two-sided interval that holds the share `confidence` of the t distribution."""
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def interval_of(rounds: int) -> str:
    """Return how tables name the interval that `ratio` computes from this many rounds."""
    if rounds < 2:
        return "no interval"
    return "95 %" if rounds >= FEWEST_ROUNDS else f"range of {rounds}"


def ratio(rounds: Rounds, reference: Rounds) -> Ratio:
    """Divide each round's median by the reference's median of the same round; return the median of these ratios.

    The ends of the 95 % interval are two of the sorted ratios (see `median_rank`); no distribution is assumed. With
    fewer than six rounds, 95 % cannot be reached, and the interval is the whole range of the ratios. One round gives no
    interval.
    """
    ours, theirs = [[statistics.median(one) for one in side] for side in (rounds, reference)]
    if len(ours) < 2:
        return Ratio(paired_ratio(ours, theirs))
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    rank = median_rank(len(ratios))
    return Ratio(paired_ratio(ours, theirs), ratios[rank], ratios[-1 - rank])


def median_rank(count: int, confidence: float = CONFIDENCE) -> int:
    """Return how many of `count` sorted values to leave out at each end; the others span the median's interval."""
    tail, rank = 0.0, -1
    while rank + 1 < count:
        tail += math.comb(count, rank + 1) / 2**count
        if tail > (1 - confidence) / 2:
            break
        rank += 1
    return max(0, rank)


def unpaired_ratio(rounds: Rounds, others: Rounds, seed: int = 0) -> Ratio:
    """Return the ratio of the medians of two separate runs; its interval comes from resampling the rounds of both.

    If either run has one round only, there is no interval: one round cannot be resampled, and an interval from the
    other run's noise alone would be too narrow.
    """
    ours, theirs = [[statistics.median(one) for one in side] for side in (rounds, others)]
    middle = statistics.median(ours) / statistics.median(theirs)
    if min(len(ours), len(theirs)) < 2:
        return Ratio(middle)
    draw = random.Random(seed)
    drawn = [_resampled_median(ours, draw) / _resampled_median(theirs, draw) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    return Ratio(middle, *np.quantile(drawn, (tail, 1 - tail)).tolist())


def _resampled_median(values: Sequence[float], draw: random.Random) -> float:
    return statistics.median(draw.choices(values, k=len(values)))


def is_stable(seconds: Sequence[float], window: int = 3, tolerance: float = 0.05) -> bool:
    """Return whether the median of the last `window` calls is close to that of the `window` calls before them.

    `tolerance` is the largest relative difference that counts as close.
    """
    if len(seconds) < 2 * window:
        return False
    last, before = statistics.median(seconds[-window:]), statistics.median(seconds[-2 * window : -window])
    return abs(last / before - 1) <= tolerance
