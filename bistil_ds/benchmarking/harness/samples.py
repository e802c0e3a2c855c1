"""Statistics of samples: percentiles, a mean with its interval, ratios within a round, whether two differ.

A round is one turn of every subject, and each turn gives a list of samples. Calls of one turn share the state that
the machine was in, so the intervals count rounds, not calls.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats has it too, but takes a second to import in every measured process

from bistil_ds.benchmarking.harness.timing import paired_ratio

Rounds = Sequence[Sequence[float]]
CONFIDENCE = 0.95
RESAMPLES = 2000
FEWEST_ROUNDS = 6  # fewer give no 95 % interval of a median


@dataclass(frozen=True)
class Summary:
    """Summary of samples in any unit; `mean_low` to `mean_high` is the mean's 95 % confidence interval.

    One round says nothing of how far rounds differ: both ends are then None.
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
    """A ratio with its 95 % interval; both ends are None where one value leaves nothing to compute an interval from."""

    median: float
    low: float | None = None
    high: float | None = None

    def verdict(self, noise: float = 0.0) -> str:
        """Return `higher` or `lower`; `inside the noise` where the interval, widened by a relative `noise`, holds 1.

        A ratio without an interval is `of unknown noise`, unless it is exactly 1.
        """
        if self.low is None or self.high is None:
            return "inside the noise" if self.median == 1 else "of unknown noise"
        if self.low > 1 + noise:
            return "higher"
        return "lower" if self.high < 1 / (1 + noise) else "inside the noise"


def summarise(rounds: Rounds) -> Summary:
    """Summarise all samples; the mean's interval is Student's, over the means of the rounds."""
    samples = [sample for one in rounds for sample in one]
    means = [statistics.fmean(one) for one in rounds]
    mean, half = statistics.fmean(samples), None
    if len(means) > 1:
        half = t_quantile(len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
    p50, p90, p99 = np.quantile(samples, (0.5, 0.9, 0.99)).tolist()
    ends = (None, None) if half is None else (mean - half, mean + half)
    return Summary(len(samples), p50, p90, p99, mean, *ends)


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return Student's t for a two-sided interval."""
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def interval_of(rounds: int) -> str:
    """Return the name, for a table, of the interval that `ratio` returns for so many rounds."""
    if rounds < 2:
        return "no interval"
    return "95 %" if rounds >= FEWEST_ROUNDS else f"range of {rounds}"


def ratio(rounds: Rounds, reference: Rounds) -> Ratio:
    """Return the median, over rounds, of one side's median over the reference's median in the same round.

    The interval is that of a median by order statistics, which assumes nothing of the distribution. Fewer than six
    rounds cannot give 95 %; the interval is then their whole range. One round gives no interval.
    """
    ours, theirs = [[statistics.median(one) for one in side] for side in (rounds, reference)]
    if len(ours) < 2:
        return Ratio(paired_ratio(ours, theirs))
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    rank = median_rank(len(ratios))
    return Ratio(paired_ratio(ours, theirs), ratios[rank], ratios[-1 - rank])


def median_rank(count: int, confidence: float = CONFIDENCE) -> int:
    """Return how many of the lowest, and of the highest, of `count` values a median's confidence interval excludes."""
    tail, rank = 0.0, -1
    while rank + 1 < count:
        tail += math.comb(count, rank + 1) / 2**count
        if tail > (1 - confidence) / 2:
            break
        rank += 1
    return max(0, rank)


def unpaired_ratio(rounds: Rounds, others: Rounds, seed: int = 0) -> Ratio:
    """Return the ratio of the medians of two separate runs; its interval comes from resampling the rounds of both.

    A run of one round cannot be resampled, and the other run's noise alone would be too narrow an interval: then there
    is none.
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
    """Return whether the last `window` calls took, in the median, what the `window` before them did."""
    if len(seconds) < 2 * window:
        return False
    last, before = statistics.median(seconds[-window:]), statistics.median(seconds[-2 * window : -window])
    return abs(last / before - 1) <= tolerance
