"""The sequence of training batches: which language, and which of its chunks, each micro-step sees.

B rows of one rank's batch, T tokens
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

SOURCE, TARGET = 0, 1


class BilingualBatches(Sampler[list[int]]):
    """Batch sampler of one rank, over the source chunks followed by the target chunks (`BilingualChunks`).

    Every micro-step has one language, the same on every rank, and each pair of micro-steps (2n, 2n+1) holds both in a
    seeded order. A language's n-th global batch is the n-th slice of an endless stream: its chunks in a fresh seeded
    shuffle for each pass, so each chunk comes once a pass and the smaller corpus simply goes round more often. Rank r
    takes rows [r·B, (r+1)·B) of it: one rank × 8 and two ranks × 4 see the same global batches.

    `language_of` and `rows_of` depend on the arguments and the micro-step alone, so training may continue anywhere.

    Args:
        sizes: chunks of the source and of the target language.
        batch_size: B.
        micro_steps: how many the whole training has; the length of the sampler.
        start: the first micro-step it yields.

    Raises:
        ValueError: a corpus without chunks, or a rank outside the world.
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
        self._shuffles: list[tuple[int, np.ndarray] | None] = [None, None]  # the pass each language was last in

    def __len__(self) -> int:
        return self.micro_steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for micro_step in range(self.start, self.micro_steps):
            offset = self.sizes[SOURCE] if self.language_of(micro_step) == TARGET else 0
            yield [offset + row for row in self.rows_of(micro_step)]

    def language_of(self, micro_step: int) -> int:
        """0 for the source language, 1 for the target; the same on every rank."""
        pair, second = divmod(micro_step, 2)
        digest = hashlib.blake2b(struct.pack("<qq", self.seed, pair), digest_size=1).digest()
        return (digest[0] + second) % 2

    def rows_of(self, micro_step: int) -> list[int]:
        """This rank's rows [B] of the micro-step, counted within the language of the micro-step."""
        language = self.language_of(micro_step)
        size = self.sizes[language]
        # Each pair holds the language once, so this is its batch number `micro_step // 2`.
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
        """The order (int64 [size]) of a language's chunks in a pass; only the last one asked for is kept."""
        kept = self._shuffles[language]
        if kept is None or kept[0] != turn:
            generator = np.random.default_rng([self.seed, language, turn])
            kept = self._shuffles[language] = (turn, generator.permutation(self.sizes[language]))
        return kept[1]
