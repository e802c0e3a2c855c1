"""Order the training batches: choose the language and the chunks of each micro-step.

B is the number of rows in one rank's batch.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

SOURCE, TARGET = 0, 1


def steps_of_epochs(epochs: float, sizes: tuple[int, int], rows: int) -> int:
    """Return the optimiser steps of a number of passes over the longer text; the shorter one has more passes.

    Args:
        sizes: number of chunks of the source and of the target language.
        rows: chunks in a step, over all micro-steps and ranks.
    """
    return max(1, math.ceil(epochs * 2 * max(sizes) / rows))


class BilingualBatches(Sampler[list[int]]):
    """Batch sampler of one rank, over the source chunks followed by the target chunks (`BilingualChunks`).

    Every micro-step has one language, the same on every rank. Of micro-steps 2n and 2n+1, one is in the source language
    and one in the target language, in an order that the seed decides. The n-th global batch of a language is the n-th
    slice of an endless stream of its chunks, which are shuffled anew for each pass. So a chunk comes once in a pass,
    and the smaller corpus has more passes. Rank r takes rows [r·B, (r+1)·B) of the global batch, so one rank with B = 8
    and two ranks with B = 4 see the same global batches.

    `language_of` and `rows_of` depend only on the arguments and the micro-step, so training can resume at any
    micro-step.

    Args:
        sizes: number of chunks of the source and of the target language.
        batch_size: B.
        micro_steps: number of micro-steps of the whole training.
        start: the first micro-step that is yielded; the length of the sampler is `micro_steps` − `start`.

    Raises:
        ValueError: a corpus has no chunks, or the rank is not below the world size.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        *,
        batch_size: int,
        micro_steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
    ) -> None:
        if min(sizes) < 1 or not 0 <= rank < world_size:
            raise ValueError(f"batches need chunks in both languages and a rank below the world size: {sizes}, {rank}")
        self.sizes, self.batch_size, self.micro_steps, self.seed = sizes, batch_size, micro_steps, seed
        self.rank, self.world_size, self.start = rank, world_size, start
        self._shuffles: list[tuple[int, np.ndarray] | None] = [None, None]  # for each language: last pass and its order

    def __len__(self) -> int:
        return self.micro_steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for micro_step in range(self.start, self.micro_steps):
            offset = self.sizes[SOURCE] if self.language_of(micro_step) == TARGET else 0
            yield [offset + row for row in self.rows_of(micro_step)]

    def language_of(self, micro_step: int) -> int:
        """Return 0 for the source language, 1 for the target; it is the same on every rank."""
        pair, second = divmod(micro_step, 2)
        digest = hashlib.blake2b(struct.pack("<qq", self.seed, pair), digest_size=1).digest()
        return (digest[0] + second) % 2

    def rows_of(self, micro_step: int) -> list[int]:
        """Return this rank's B rows of the micro-step, as indices into the chunks of the micro-step's language."""
        language = self.language_of(micro_step)
        size = self.sizes[language]
        # Two micro-steps have each language once, so this is global batch `micro_step // 2` of the language.
        position = (micro_step // 2 * self.world_size + self.rank) * self.batch_size
        end = position + self.batch_size
        rows: list[int] = []
        while position < end:
            turn, first = divmod(position, size)
            taken = self._shuffle(language, turn)[first : first + end - position].tolist()
            rows += taken
            position += len(taken)
        return rows

    def _shuffle(self, language: int, turn: int) -> np.ndarray:
        """Return the order of a language's chunks in a pass, int64 [size]; only the last order is kept in memory."""
        kept = self._shuffles[language]
        if kept is None or kept[0] != turn:
            generator = np.random.default_rng([self.seed, language, turn])
            kept = self._shuffles[language] = (turn, generator.permutation(self.sizes[language]))
        return kept[1]
