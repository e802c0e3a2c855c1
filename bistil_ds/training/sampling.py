"""Draw batches of examples that are about equally long, the same ones on every rank and in a resumed run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class LengthGroups(LengthGroupedSampler):
    """`LengthGroupedSampler` whose order depends on seed and epoch alone.

    The one of transformers draws from the process's generator. Ranks whose dropout has drawn different amounts then
    disagree about an epoch, and a resumed run sees other batches than it would have seen.

    Args:
        batch_size: examples of all ranks in a step.
        lengths: tokens of each example.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration draw the order of this epoch; the Trainer calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()
