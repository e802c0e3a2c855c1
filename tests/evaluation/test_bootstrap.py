"""Test that bootstrap intervals are right where the answer is known, paired, and repeatable."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bistil_ds.evaluation.bootstrap import Bootstrap, Counts, of_totals, resampled_weights

Metrics = Callable[[np.ndarray], dict[str, float]]


def accuracy(totals: np.ndarray) -> dict[str, float]:
    """Return the accuracy of totals (right, examples)."""
    return {"accuracy": float(totals[0] / totals[1])}


def f1(totals: np.ndarray) -> dict[str, float]:
    """Return the F1 of totals (right, predicted, gold)."""
    return {"f1": float(2 * totals[0] / max(totals[1] + totals[2], 1))}


def bootstrap_of(counts: Counts, metrics: Metrics, **options: int) -> Bootstrap:
    """Return the bootstrap of metrics of totals, the same in every language."""
    return Bootstrap(counts, dict.fromkeys(next(iter(counts.values())), of_totals(metrics)), **options)


def answers(right_N: np.ndarray) -> np.ndarray:
    """Return the counts of `accuracy`, one row for each example, from whether each is right."""
    return np.stack([right_N, np.ones_like(right_N)], 1).astype(float)


def width(estimate: object) -> float:
    return estimate.high - estimate.low  # type: ignore[attr-defined, no-any-return]


def test_each_resample_draws_as_many_examples_as_there_are() -> None:
    (weights_RN,) = resampled_weights(7, 50, np.random.default_rng(0))
    assert weights_RN.shape == (50, 7)
    assert (weights_RN.sum(1) == 7).all()
    assert len(np.unique(weights_RN, axis=0)) > 40


def test_many_resamples_come_in_blocks_and_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = resampled_weights(30, 25, np.random.default_rng(0))
    monkeypatch.setattr("bistil_ds.evaluation.bootstrap.WEIGHTS_AT_ONCE", 200)  # a block is then 6 resamples
    blocks = list(resampled_weights(30, 25, np.random.default_rng(0)))
    assert [len(block) for block in blocks] == [6, 6, 6, 6, 1]
    assert (np.concatenate(blocks) == whole).all()


def test_a_metric_may_need_more_than_totals_and_may_be_missing() -> None:
    """The median needs the resample itself; a model without the metric has NaN, and a language another metric."""

    def median(values_N1: np.ndarray, weights_RN: np.ndarray) -> dict[str, np.ndarray]:
        return {"median": np.array([np.median(np.repeat(values_N1[:, 0], row.astype(int))) for row in weights_RN])}

    values_N1 = np.random.default_rng(2).random((41, 1))
    counts = {
        "m": {"xx": values_N1, "yy": answers(np.arange(9) < 3)},
        "n": {"xx": values_N1 * np.nan, "yy": np.ones((9, 2))},
    }
    found = Bootstrap(counts, {"xx": median, "yy": of_totals(accuracy)}, resamples=500)
    estimate = found.score("median", "m", "xx")
    assert estimate.value == np.median(values_N1)
    assert estimate.low < estimate.value < estimate.high
    assert found.score("median", "m") == estimate  # the average of the one language that has it
    assert found.score("accuracy", "m").value == pytest.approx(1 / 3)
    for missing in (("median", "n", "xx"), ("median", "n"), ("median", "m", "yy"), ("accuracy", "m", "xx")):
        assert found.score(*missing) is None
    assert found.difference("median", "m", "n", "xx") is None


@pytest.mark.parametrize(("examples", "share"), [(400, 0.5), (1000, 0.8), (3000, 0.93)])
def test_the_interval_of_an_accuracy_is_the_binomial_one(examples: int, share: float) -> None:
    counts = {"m": {"xx": answers(np.arange(examples) < share * examples)}}
    found = bootstrap_of(counts, accuracy, resamples=4000).score("accuracy", "m", "xx")
    half = 1.96 * np.sqrt(share * (1 - share) / examples)
    assert found.value == pytest.approx(share)
    assert found.low == pytest.approx(share - half, abs=0.08 * half)
    assert found.high == pytest.approx(share + half, abs=0.08 * half)


def test_the_interval_of_an_f1_is_that_of_all_possible_resamples() -> None:
    counts_NC = np.array([[1, 1, 2], [0, 1, 1], [2, 2, 2], [0, 3, 1], [1, 2, 1]], dtype=float)
    drawn = itertools.product(range(5), repeat=5)
    every = sorted(f1(counts_NC[list(each)].sum(0))["f1"] for each in drawn)
    found = bootstrap_of({"m": {"xx": counts_NC}}, f1, resamples=20_000).score("f1", "m", "xx")
    assert found.value == pytest.approx(f1(counts_NC.sum(0))["f1"])
    # Each end leaves out a fortieth of all 3,125 resamples, as nearly as repeated values allow.
    below, above = np.mean(np.array(every) < found.low), np.mean(np.array(every) > found.high)
    assert below <= 0.028
    assert above <= 0.028
    assert np.mean(np.array(every) <= found.low) >= 0.022
    assert np.mean(np.array(every) >= found.high) >= 0.022


@pytest.mark.parametrize("metric", [f1, accuracy])
def test_intervals_are_those_of_scipys_percentile_bootstrap(metric: Metrics) -> None:
    draw = np.random.default_rng(7)
    counts_NC = draw.integers((0, 1, 1), (4, 5, 5), (60, 3)).astype(float)

    def statistic(index: np.ndarray, axis: int) -> np.ndarray:
        totals_RC = counts_NC[index.astype(int)].sum(axis if axis >= 0 else index.ndim + axis)
        values = [next(iter(metric(total).values())) for total in totals_RC.reshape(-1, 3)]
        return np.reshape(values, totals_RC.shape[:-1])

    known = stats.bootstrap((np.arange(60),), statistic, n_resamples=6000, method="percentile", rng=draw, batch=500)
    name = next(iter(metric(counts_NC.sum(0))))
    found = bootstrap_of({"m": {"xx": counts_NC}}, metric, resamples=6000).score(name, "m", "xx")
    half = width(found) / 2
    assert found.low == pytest.approx(known.confidence_interval.low, abs=0.08 * half)
    assert found.high == pytest.approx(known.confidence_interval.high, abs=0.08 * half)


def test_pairing_makes_the_interval_of_a_difference_narrower() -> None:
    draw = np.random.default_rng(3)
    one = draw.random(800) < 0.7
    other = np.where(draw.random(800) < 0.1, ~one, one)  # the two models mostly err on the same examples
    counts = {"one": {"xx": answers(one)}, "other": {"xx": answers(other)}}
    bootstrap = bootstrap_of(counts, accuracy, resamples=2000)
    found = bootstrap.difference("accuracy", "other", "one", "xx")
    assert found.value == pytest.approx(other.mean() - one.mean())
    unpaired = np.hypot(*(width(bootstrap.score("accuracy", name, "xx")) for name in counts))
    paired = 2 * 1.96 * np.std(other.astype(float) - one) / np.sqrt(800)
    assert width(found) == pytest.approx(paired, rel=0.08)
    assert width(found) < 0.6 * unpaired


def test_models_that_answer_alike_differ_by_exactly_nothing() -> None:
    right = np.random.default_rng(0).random(100) < 0.5
    bootstrap = bootstrap_of({"a": {"xx": answers(right)}, "b": {"xx": answers(right)}}, accuracy, resamples=100)
    found = bootstrap.difference("accuracy", "b", "a")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_macro_average_weighs_languages_alike_and_resamples_each_for_itself() -> None:
    sizes = {"big": 4000, "small": 100}
    counts = {"m": {name: answers(np.arange(size) < size // 2) for name, size in sizes.items()}}
    counts["m"]["small"] = answers(np.arange(100) < 80)
    found = bootstrap_of(counts, accuracy, resamples=4000).score("accuracy", "m")
    assert found.value == pytest.approx(0.65)
    assert width(found) == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 4000 + 0.16 / 100) / 2, rel=0.08)


def test_the_seed_decides_and_other_languages_and_models_do_not() -> None:
    draw = np.random.default_rng(5)
    sets = {name: answers(draw.random(60) < 0.6) for name in ("xx", "yy")}
    alone = bootstrap_of({"m": {"xx": sets["xx"]}}, accuracy, resamples=200).score("accuracy", "m", "xx")
    both = {"other": {"yy": sets["xx"], "xx": sets["yy"]}, "m": {"yy": sets["yy"], "xx": sets["xx"]}}
    assert bootstrap_of(both, accuracy, resamples=200).score("accuracy", "m", "xx") == alone
    seeded = bootstrap_of({"m": {"xx": sets["xx"]}}, accuracy, resamples=200, seed=1).score("accuracy", "m", "xx")
    assert seeded.value == alone.value
    assert seeded != alone


@pytest.mark.slow
def test_nineteen_of_twenty_intervals_of_a_paired_difference_hold_the_truth() -> None:
    """Count over 1,000 test sets of two languages, with models that are right together more often than by chance."""
    draw, runs, size = np.random.default_rng(11), 1000, 300
    truth = {"xx": (0.8, 0.7), "yy": (0.6, 0.55)}
    held = {"xx": 0, "macro": 0}
    for run in range(runs):
        counts: dict[str, dict[str, np.ndarray]] = {"a": {}, "b": {}}
        for language, (first, second) in truth.items():
            luck_N = draw.random(size)  # both models share it, since an example is easy for both
            own_N = np.where(draw.random(size) < 0.5, luck_N, draw.random(size))
            counts["a"][language], counts["b"][language] = answers(luck_N < first), answers(own_N < second)
        bootstrap = bootstrap_of(counts, accuracy, resamples=500, seed=run)
        for place, difference in {"xx": 0.1, "macro": 0.075}.items():
            found = bootstrap.difference("accuracy", "a", "b", None if place == "macro" else place)
            held[place] += found.low <= difference <= found.high
    for name, count in held.items():
        assert 0.93 <= count / runs <= 0.97, (name, count / runs)
