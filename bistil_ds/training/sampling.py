"""Draw batches of examples that are about equally long, the same ones on every rank and in a resumed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class LengthGroups(LengthGroupedSampler):
    """`LengthGroupedSampler` whose order depends on seed and epoch alone, and whose batches come in random order.

    The one of transformers draws from the process's generator. Ranks whose dropout has drawn different amounts then
    disagree about an epoch, and a resumed run sees other batches than it would have seen. Its batches go from long to
    short, again and again. Here only the longest one comes first, so that a lack of memory shows at once.

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
        examples = list(super().__iter__())
        batches = [examples[begin : begin + self.batch_size] for begin in range(0, len(examples), self.batch_size)]
        last = [batches.pop()] if len(batches[-1]) < self.batch_size else []  # the incomplete one stays at the end
        first, others = batches[:1], batches[1:]
        mixed = [others[n] for n in torch.randperm(len(others), generator=self.generator)]
        return chain.from_iterable([*first, *mixed, *last])
