"""Choose the language and the chunks of each micro-step in training.

B is the number of rows in one rank's batch of a micro-step.
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
    """Return the number of optimiser steps in which training reads the longer text `epochs` times.

    Training reads equally many chunks of both languages, so it reads the shorter text more often.

    Args:
        sizes: number of chunks of the source and of the target language.
        rows: chunks in a step, over all micro-steps and ranks.
    """
    return max(1, math.ceil(epochs * 2 * max(sizes) / rows))


class BilingualBatches(Sampler[list[int]]):
    """Batch sampler of one rank, over the source chunks followed by the target chunks (`BilingualChunks`).

    Every micro-step has one language, the same on every rank. Of micro-steps 2n and 2n+1, one is in the source language
    and one in the target language; the seed decides which comes first. A global batch is the rows of all ranks in a
    micro-step. The global batches of a language are consecutive slices of an endless stream: the language's chunks,
    shuffled anew for each pass. So each chunk comes once in a pass, and the smaller corpus has more passes. Rank r
    takes rows [r·B, (r+1)·B) of the global batch. So one rank with B = 8 and two ranks with B = 4 see the same global
    batches.

    `language_of` and `rows_of` depend only on the constructor's arguments and the micro-step, so training can resume at
    any micro-step.

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
        self._shuffles: list[tuple[int, np.ndarray] | None] = [None, None]  # for each language: last pass, its order

    def __len__(self) -> int:
        return self.micro_steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for micro_step in range(self.start, self.micro_steps):
            offset = self.sizes[SOURCE] if self.language_of(micro_step) == TARGET else 0
            yield [offset + row for row in self.rows_of(micro_step)]

    def language_of(self, micro_step: int) -> int:
        """Return the language of a micro-step, the same on every rank: 0 is the source, 1 the target."""
        pair, second = divmod(micro_step, 2)
        digest = hashlib.blake2b(struct.pack("<qq", self.seed, pair), digest_size=1).digest()
        return (digest[0] + second) % 2

    def rows_of(self, micro_step: int) -> list[int]:
        """Return this rank's B rows of a micro-step, as indices into the chunks of that micro-step's language."""
        language = self.language_of(micro_step)
        size = self.sizes[language]
        # Each pair of micro-steps has each language once, so this is global batch `micro_step // 2` of the language.
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
        """Return the order of a language's chunks in pass `turn`, int64 [size]; keep only the last order in memory."""
        kept = self._shuffles[language]
        if kept is None or kept[0] != turn:
            generator = np.random.default_rng([self.seed, language, turn])
            kept = self._shuffles[language] = (turn, generator.permutation(self.sizes[language]))
        return kept[1]
