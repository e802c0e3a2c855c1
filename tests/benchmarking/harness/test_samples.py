"""Test the statistics on samples with known answers."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats

from bistil_ds.benchmarking.harness.samples import (
    Ratio,
    interval_of,
    is_stable,
    median_rank,
    ratio,
    summarise,
    t_quantile,
    unpaired_ratio,
)


def noisy_rounds(draw: random.Random, base: float, drift: list[float], calls: int = 3) -> list[list[float]]:
    """Return one model's calls by round: its own time with the drift of that round, jitter and rare interruptions."""
    return [
        [base * slow * draw.lognormvariate(0, 0.03) * (3 if draw.random() < 0.02 else 1) for _ in range(calls)]
        for slow in drift
    ]


def drifting(draw: random.Random, rounds: int = 30) -> list[float]:
    return [draw.choice((1.0, 1.0, 1.4)) for _ in range(rounds)]


def test_percentiles_interpolate_between_neighbours() -> None:
    found = summarise([[float(i)] for i in range(1, 102)])
    assert (found.p50, found.p90, found.p99) == (51, 91, 100)
    assert summarise([[1.0], [2.0]]).p90 == pytest.approx(1.9)
    assert summarise([[7.0]]).p99 == 7


@pytest.mark.parametrize(("degrees", "known"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (1000, 1.962)])
def test_t_quantiles_are_those_of_the_tables(degrees: int, known: float) -> None:
    assert t_quantile(degrees) == pytest.approx(known, abs=0.0005)


@pytest.mark.parametrize("rounds", [2, 3, 9])
def test_the_interval_of_the_mean_is_that_of_scipy(rounds: int) -> None:
    samples = np.random.default_rng(rounds).lognormal(size=rounds)
    known = stats.ttest_1samp(samples, 0).confidence_interval(0.95)
    found = summarise([[float(sample)] for sample in samples])
    assert (found.mean_low, found.mean_high) == pytest.approx((known.low, known.high))


def test_the_interval_of_the_mean_counts_rounds_and_not_calls() -> None:
    once = summarise([[1.0], [2.0], [3.0]])
    thrice = summarise([[1.0] * 3, [2.0] * 3, [3.0] * 3])
    assert once.mean == thrice.mean == 2
    assert once.mean_high - 2 == pytest.approx(4.303 / 3**0.5, rel=0.01)
    assert thrice.mean_high == once.mean_high
    assert (once.count, thrice.count) == (3, 9)


def test_one_value_has_no_interval() -> None:
    assert summarise([[1.0, 2.0]]).mean_low is None
    assert summarise([[1.0, 2.0]]).mean_high is None
    assert ratio([[1.0, 3.0]], [[4.0]]) == Ratio(0.5, None, None)
    many = [[1.0 + i / 10] for i in range(8)]
    assert unpaired_ratio([[2.7]], many) == Ratio(2.0, None, None)
    assert unpaired_ratio(many, [[2.7]]) == Ratio(0.5, None, None)
    assert (Ratio(2.0).verdict(), Ratio(1.0).verdict()) == ("of unknown noise", "inside the noise")
    assert interval_of(1) == "no interval"


def test_the_interval_of_the_mean_holds_the_mean_nineteen_times_in_twenty() -> None:
    draw = random.Random(1)
    found = [summarise([[draw.gauss(10, 1)] for _ in range(8)]) for _ in range(1000)]
    assert 0.92 < sum(one.mean_low <= 10 <= one.mean_high for one in found) / 1000 < 0.98


@pytest.mark.parametrize(("count", "left_out"), [(3, 0), (5, 0), (6, 0), (9, 1), (20, 5), (100, 39)])
def test_order_statistics_of_a_median_are_those_of_the_binomial(count: int, left_out: int) -> None:
    assert median_rank(count) == left_out
    assert max(0, sum(stats.binom.cdf(rank, count, 0.5) <= 0.025 for rank in range(count)) - 1) == left_out


def test_fewer_rounds_than_six_are_called_a_range() -> None:
    assert interval_of(5) == "range of 5"
    assert interval_of(6) == "95 %"
    assert 1 - 2 / 2**6 > 0.95 > 1 - 2 / 2**5  # the probability that the range of so many rounds holds the median


def test_the_interval_of_a_ratio_holds_it_nineteen_times_in_twenty() -> None:
    draw = random.Random(2)
    held = 0
    for _ in range(500):
        drift = drifting(draw, 21)
        found = ratio(noisy_rounds(draw, 0.5, drift), noisy_rounds(draw, 1.0, drift))
        held += found.low <= 0.5 <= found.high
    assert held / 500 > 0.93


def test_ratios_do_not_see_a_machine_that_slows_both_down() -> None:
    assert ratio([[1.0], [5.0], [2.0]], [[2.0], [10.0], [4.0]]) == Ratio(0.5, 0.5, 0.5)


def test_a_planted_slowdown_of_a_tenth_is_reported_and_the_same_model_twice_is_not() -> None:
    draw = random.Random(3)
    reported, wrongly = 0, 0
    for _ in range(100):
        drift = drifting(draw)
        one, other, slower = (noisy_rounds(draw, base, drift) for base in (1.0, 1.0, 1.1))
        same, planted = ratio(other, one), ratio(slower, one)
        assert abs(same.median - 1) < 0.03
        assert planted.median == pytest.approx(1.1, rel=0.03)
        reported += planted.verdict() == "higher"
        wrongly += same.verdict(0.01) != "inside the noise"
    assert reported == 100
    assert wrongly <= 2


def test_runs_at_different_times_are_compared_with_the_noise_of_both() -> None:
    draw = random.Random(4)
    one, other, slower = (noisy_rounds(draw, base, [1.0] * 30) for base in (1.0, 1.0, 1.1))
    assert unpaired_ratio(other, one).verdict(0.01) == "inside the noise"
    assert unpaired_ratio(slower, one).verdict(0.01) == "higher"
    assert unpaired_ratio(one, slower).verdict(0.01) == "lower"
    assert unpaired_ratio(slower, one).verdict(0.2) == "inside the noise"
    assert unpaired_ratio(other, one) == unpaired_ratio(other, one)


def test_warm_up_ends_when_times_no_longer_fall() -> None:
    falling = [9.0, 4.0, 2.0, 1.5, 1.2, 1.1]
    assert not is_stable(falling)
    assert not is_stable([1.0] * 5)
    assert is_stable([*falling, 1.02, 1.0, 1.01, 1.0, 1.01, 1.0])
