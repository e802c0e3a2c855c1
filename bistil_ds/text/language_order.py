"""Choose the language of each micro-step: every language equally often, or the larger ones more often.

L languages, numbered from 0.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class LanguageOrder(Protocol):
    """The language of each micro-step of a training; it is the same on every rank."""

    def turn(self, micro_step: int) -> tuple[int, int]:
        """Return a micro-step's language, and how many earlier micro-steps have that language."""


class BalancedOrder:
    """Rounds of L micro-steps, each of which has every language once, in an order that the seed decides."""

    def __init__(self, languages: int, seed: int) -> None:
        self.languages, self.seed = languages, seed
        self._round: tuple[int, list[int]] = (-1, [])  # the last round asked for, and its languages in order

    def turn(self, micro_step: int) -> tuple[int, int]:
        number, place = divmod(micro_step, self.languages)
        if self._round[0] != number:
            self._round = (number, self._shuffled(number))
        return self._round[1][place], number

    def _shuffled(self, number: int) -> list[int]:
        """Return the languages in the order of a round (a Fisher-Yates shuffle)."""
        order = list(range(self.languages))
        for place in range(self.languages - 1):
            salt = struct.pack("<q", place)
            digest = hashlib.blake2b(struct.pack("<qq", self.seed, number), digest_size=1, salt=salt).digest()
            other = place + digest[0] % (self.languages - place)
            order[place], order[other] = order[other], order[place]
        return order


class WeightedOrder:
    """A language with twice the weight gets twice the micro-steps, and those of each are spread evenly over the run.

    Time is counted so that a language of weight w has one batch in each interval of length 1 / w, at a point that the
    seed decides. The micro-steps are all batches in the order of their times. So after any number of micro-steps every
    language has had its share up to a few batches.

    Args:
        weights: weight of each language, above 0.
        micro_steps: number of micro-steps; a longer order begins with the same languages.
    """

    def __init__(self, weights: Sequence[float], seed: int, micro_steps: int) -> None:
        end = micro_steps / sum(weights) + 1 / min(weights)  # by then at least `micro_steps` batches have come
        times, languages = [], []
        for language, weight in enumerate(weights):
            generator = np.random.default_rng([seed, language, 0, 1])  # unlike any of those that shuffle chunks
            points = generator.random(int(end * weight) + 1)
            times.append((np.arange(len(points)) + points) / weight)
            languages.append(np.full(len(points), language))
        by_time = np.argsort(np.concatenate(times), kind="stable")[:micro_steps]
        self.order = np.concatenate(languages)[by_time]  # int64 [micro_steps]
        self.earlier = np.zeros(micro_steps, np.int64)
        for language in range(len(weights)):
            (own,) = np.nonzero(self.order == language)
            self.earlier[own] = np.arange(len(own))

    def turn(self, micro_step: int) -> tuple[int, int]:
        return int(self.order[micro_step]), int(self.earlier[micro_step])


def language_weights(sizes: Sequence[int], temperature: float | None) -> list[float]:
    """Return the weight of each language in the order of batches; that of the longest text is 1.

    Args:
        sizes: number of chunks of each language.
        temperature: T; the weight of a language is proportional to its size ** (1 / T). None: all weights are equal.
    """
    if temperature is None:
        return [1.0] * len(sizes)
    return [float((size / max(sizes)) ** (1 / temperature)) for size in sizes]


def language_order(sizes: Sequence[int], temperature: float | None, seed: int, micro_steps: int) -> LanguageOrder:
    """Return the order in which languages of these sizes are trained on; see `language_weights`."""
    if temperature is None:
        return BalancedOrder(len(sizes), seed)
    return WeightedOrder(language_weights(sizes, temperature), seed, micro_steps)
