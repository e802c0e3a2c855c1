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

from bistil_ds.benchmarking.harness.timing import paired_ratio

Rounds = Sequence[Sequence[float]]
CONFIDENCE = 0.95
RESAMPLES = 2000
FEWEST_ROUNDS = 6  # fewer give no 95 % interval of a median


@dataclass(frozen=True)
class Summary:
    """Summary of samples in any unit; `mean_low` to `mean_high` is the mean's 95 % confidence interval."""

    count: int
    p50: float
    p90: float
    p99: float
    mean: float
    mean_low: float
    mean_high: float


@dataclass(frozen=True)
class Ratio:
    """A ratio with its 95 % interval."""

    median: float
    low: float
    high: float

    def verdict(self, noise: float = 0.0) -> str:
        """Return `higher` or `lower`; `inside the noise` where the interval, widened by a relative `noise`, holds 1."""
        if self.low > 1 + noise:
            return "higher"
        return "lower" if self.high < 1 / (1 + noise) else "inside the noise"


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the samples lie, interpolated linearly between neighbours."""
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def summarise(rounds: Rounds) -> Summary:
    """Summarise all samples; the mean's interval is Student's, over the means of the rounds."""
    samples = [sample for one in rounds for sample in one]
    means = [statistics.fmean(one) for one in rounds]
    mean, half = statistics.fmean(samples), 0.0
    if len(means) > 1:
        half = t_quantile(len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
    p50, p90, p99 = (percentile(samples, share) for share in (0.5, 0.9, 0.99))
    return Summary(len(samples), p50, p90, p99, mean, mean - half, mean + half)


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return Student's t for a two-sided interval, by Fisher's expansion; within 1 % from two degrees of freedom."""
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (i + 1) for i, term in enumerate(terms))


def interval_of(rounds: int) -> str:
    """Return the name, for a table, of the interval that `ratio` returns for so many rounds."""
    return "95 %" if rounds >= FEWEST_ROUNDS else f"range of {rounds}"


def ratio(rounds: Rounds, reference: Rounds) -> Ratio:
    """Return the median, over rounds, of one side's median over the reference's median in the same round.

    The interval is that of a median by order statistics, which assumes nothing of the distribution. Fewer than six
    rounds cannot give 95 %; the interval is then their whole range.
    """
    ours, theirs = [[statistics.median(one) for one in side] for side in (rounds, reference)]
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
    """Return the ratio of the medians of two separate runs; its interval comes from resampling the rounds of both."""
    draw = random.Random(seed)
    ours, theirs = [[statistics.median(one) for one in side] for side in (rounds, others)]
    drawn = [_resampled_median(ours, draw) / _resampled_median(theirs, draw) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    middle = statistics.median(ours) / statistics.median(theirs)
    return Ratio(middle, percentile(drawn, tail), percentile(drawn, 1 - tail))


def _resampled_median(values: Sequence[float], draw: random.Random) -> float:
    return statistics.median(draw.choices(values, k=len(values)))


def is_stable(seconds: Sequence[float], window: int = 3, tolerance: float = 0.05) -> bool:
    """Return whether the last `window` calls took, in the median, what the `window` before them did."""
    if len(seconds) < 2 * window:
        return False
    last, before = statistics.median(seconds[-window:]), statistics.median(seconds[-2 * window : -window])
    return abs(last / before - 1) <= tolerance
