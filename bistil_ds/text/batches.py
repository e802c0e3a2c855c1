"""Choose the language and the chunks of each micro-step in training.

B is the number of rows in one rank's batch of a micro-step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from bistil_ds.text.language_order import language_order, language_weights


def steps_of_epochs(epochs: float, sizes: Sequence[int], rows: int, temperature: float | None = None) -> int:
    """Return the number of optimiser steps in which training reads the longest text `epochs` times.

    Training reads shorter texts more often, unless the temperature is 1: then it reads all equally often.

    Args:
        sizes: number of chunks of each language.
        rows: chunks in a step, over all micro-steps and ranks.
        temperature: as in `MonolingualBatches`.
    """
    return max(1, math.ceil(epochs * sum(language_weights(sizes, temperature)) * max(sizes) / rows))


class MonolingualBatches(Sampler[list[int]]):
    """Batch sampler of one rank, over the chunks of one language or more, one after another (`MultilingualChunks`).

    Every micro-step has one language, the same on every rank. Without a temperature each round of micro-steps has every
    language once; the seed decides in which order. A global batch is the rows of all ranks in a micro-step. The global
    batches of a language are consecutive slices of an endless stream: the language's chunks, shuffled anew for each
    pass. So each chunk comes once in a pass, and a smaller corpus has more passes. Rank r takes rows [r·B, (r+1)·B) of
    the global batch. So one rank with B = 8 and two ranks with B = 4 see the same global batches.

    `language_of` and `rows_of` depend only on the constructor's arguments and the micro-step, so training can resume at
    any micro-step.

    Args:
        sizes: number of chunks of each language.
        batch_size: B.
        micro_steps: number of micro-steps of the whole training.
        temperature: T, for corpora of unequal sizes: a language's share of the micro-steps is proportional to its
            size ** (1 / T), from shares as of the sizes (1) to almost equal ones (100). None: equal shares.
        start: the first micro-step that is yielded; the length of the sampler is `micro_steps` − `start`.

    Raises:
        ValueError: there is no language, a corpus has no chunks, or the rank is not below the world size.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        batch_size: int,
        micro_steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        temperature: float | None = None,
        start: int = 0,
    ) -> None:
        if min(sizes, default=0) < 1 or not 0 <= rank < world_size:
            raise ValueError(
                f"batches need chunks in every language and a rank below the world size: {list(sizes)}, {rank}"
            )
        self.sizes, self.batch_size, self.micro_steps, self.seed = tuple(sizes), batch_size, micro_steps, seed
        self.rank, self.world_size, self.start = rank, world_size, start
        self.offsets = [sum(self.sizes[:language]) for language in range(len(self.sizes))]
        self._order = language_order(self.sizes, temperature, seed, micro_steps)
        self._shuffles: dict[int, tuple[int, np.ndarray]] = {}  # language → its last pass and the order of that pass

    def __len__(self) -> int:
        return self.micro_steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for micro_step in range(self.start, self.micro_steps):
            offset = self.offsets[self.language_of(micro_step)]
            yield [offset + row for row in self.rows_of(micro_step)]

    def language_of(self, micro_step: int) -> int:
        """Return the number of a micro-step's language, which is the same on every rank."""
        return self._order.turn(micro_step)[0]

    def rows_of(self, micro_step: int) -> list[int]:
        """Return this rank's B rows of a micro-step, as indices into the chunks of that micro-step's language."""
        language, batch = self._order.turn(micro_step)
        size = self.sizes[language]
        position = (batch * self.world_size + self.rank) * self.batch_size
        end = position + self.batch_size
        rows: list[int] = []
        while position < end:
            turn, first = divmod(position, size)
            taken = self._shuffle(language, turn)[first : first + end - position].tolist()
            rows += taken
            position += len(taken)
        return rows

    def _shuffle(self, language: int, turn: int) -> np.ndarray:
        """Return the order of a language's chunks in pass `turn`, int64 [size]; keep only the last order in memory."""
        kept = self._shuffles.get(language)
        if kept is None or kept[0] != turn:
            generator = np.random.default_rng([self.seed, language, turn])
            kept = self._shuffles[language] = (turn, generator.permutation(self.sizes[language]))
        return kept[1]
