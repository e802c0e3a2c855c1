"""Test the languages of micro-steps: rounds of all languages, as published for two, or shares that follow the sizes."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter

import pytest

from bistil_ds.text.batches import MonolingualBatches, steps_of_epochs
from bistil_ds.text.language_order import BalancedOrder, LanguageOrder, WeightedOrder, language_order, language_weights

SIZES = (1000, 250, 40, 40)


def languages(order: LanguageOrder, steps: int) -> list[int]:
    return [order.turn(step)[0] for step in range(steps)]


def published(seed: int, micro_step: int) -> int:
    """Return the language of a micro-step of two languages as version 0.1 chose it."""
    pair, second = divmod(micro_step, 2)
    digest = hashlib.blake2b(struct.pack("<qq", seed, pair), digest_size=1).digest()
    return (digest[0] + second) % 2


@pytest.mark.parametrize("seed", [0, 3, 42, 2**32 - 1])
def test_two_languages_have_the_order_of_earlier_versions(seed: int) -> None:
    assert languages(BalancedOrder(2, seed), 2000) == [published(seed, step) for step in range(2000)]


@pytest.mark.parametrize(("count", "orders"), [(1, 1), (2, 2), (3, 6), (5, 40), (14, 50)])
def test_each_round_has_every_language_once_and_rounds_differ(count: int, orders: int) -> None:
    order = BalancedOrder(count, seed=3)
    rounds = [tuple(languages(order, 50 * count)[first : first + count]) for first in range(0, 50 * count, count)]
    assert all(sorted(each) == list(range(count)) for each in rounds)
    assert len(set(rounds)) >= orders
    assert [order.turn(step)[1] for step in range(4 * count)] == [step // count for step in range(4 * count)]


@pytest.mark.parametrize("temperature", [None, 1.0, 3.0])
def test_earlier_micro_steps_of_a_language_are_counted_in_any_order_of_asking(temperature: float | None) -> None:
    order, seen = language_order(SIZES, temperature, 7, 600), Counter[int]()
    turns = []
    for step in range(600):
        language, earlier = order.turn(step)
        assert earlier == seen[language]
        seen[language] += 1
        turns.append((language, earlier))
    again = language_order(SIZES, temperature, 7, 600)
    assert [again.turn(step) for step in reversed(range(600))] == turns[::-1]
    assert turns != [language_order(SIZES, temperature, 8, 600).turn(step) for step in range(600)]


@pytest.mark.parametrize("temperature", [1.0, 1.4, 5.0, 100.0])
def test_every_language_has_its_share_at_every_time(temperature: float) -> None:
    wanted = [size ** (1 / temperature) for size in SIZES]
    seen = Counter[int]()
    for step, language in enumerate(languages(language_order(SIZES, temperature, 3, 5000), 5000), 1):
        seen[language] += 1
        for one, weight in enumerate(wanted):
            assert abs(seen[one] - step * weight / sum(wanted)) < 3


def test_a_longer_run_begins_with_the_same_languages() -> None:
    weights = language_weights(SIZES, 2.0)
    short, long = WeightedOrder(weights, 3, 100), WeightedOrder(weights, 3, 5000)
    assert [short.turn(step) for step in range(100)] == [long.turn(step) for step in range(100)]


def test_texts_of_one_size_have_equal_shares_at_any_temperature() -> None:
    order = languages(language_order((30, 30, 30), 4.0, 3, 300), 300)
    assert all(sorted(order[first : first + 3]) == [0, 1, 2] for first in range(0, 300, 3))


@pytest.mark.parametrize(("temperature", "passes"), [(1.0, [2, 2, 2, 2]), (None, [2, 8, 50, 50])])
def test_epochs_are_passes_over_the_longest_text(temperature: float | None, passes: list[int]) -> None:
    steps = steps_of_epochs(2, SIZES, 10, temperature)
    sampler = MonolingualBatches(SIZES, batch_size=10, micro_steps=steps, seed=3, temperature=temperature)
    seen = Counter(
        (language := sampler.language_of(step), row) for step in range(steps) for row in sampler.rows_of(step)
    )
    for language, (size, wanted) in enumerate(zip(SIZES, passes, strict=True)):
        rows = sum(count for (one, _), count in seen.items() if one == language)
        assert abs(rows - wanted * size) <= 10


def test_many_languages_are_divided_over_ranks_and_resumed_as_two_are() -> None:
    alone = MonolingualBatches(SIZES, batch_size=8, micro_steps=200, seed=3, temperature=2.0)
    ranks = [
        MonolingualBatches(SIZES, batch_size=4, micro_steps=200, seed=3, temperature=2.0, rank=rank, world_size=2)
        for rank in range(2)
    ]
    whole = list(alone)
    assert [first + second for first, second in zip(*ranks, strict=True)] == whole
    later = MonolingualBatches(SIZES, batch_size=8, micro_steps=200, seed=3, temperature=2.0, start=77)
    assert list(later) == whole[77:]
    ends = [1000, 1250, 1290, 1330]
    for step, rows in enumerate(whole):
        assert {sum(row >= end for end in ends) for row in rows} == {alone.language_of(step)}
