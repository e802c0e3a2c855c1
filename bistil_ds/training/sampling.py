"""Draw batches of examples that are about equally long, the same ones on every rank and in a resumed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class LengthGroups(LengthGroupedSampler):
    """`LengthGroupedSampler` whose order depends on seed and epoch alone.

    The one of transformers draws from the process's generator. Ranks whose dropout has drawn different amounts then
    disagree about an epoch, and a resumed run sees other batches than it would have seen.

    Args:
        batch_size: examples of all ranks in a step.
        lengths: tokens of each example.
        epoch: returns the epoch that an iteration begins or, in a resumed run, goes on with. It is asked, because
            accelerate tells no epoch to the sampler of a run that several ranks resume.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], seed: int, epoch: Callable[[], int]) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self.seed, self.epoch = seed, epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch())
        return super().__iter__()
