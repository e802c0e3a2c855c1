"""Compute the memory of a rank, the bytes of a checkpoint and the time of all steps, from counts and timed steps.

Memory is counted as for ZeRO (Rajbhandari et al., arXiv 1910.02054, sections 3.1 and 5, figure 1).
Take P parameters that train, N ranks, 2-byte weights, and Adam with a state of K = 12 bytes for each parameter (fp32
weight, momentum and variance). Then a rank holds these bytes of weights + gradients + optimizer state:

    no partition 2P + 2P + 12P,  stage 1 2P + 2P + 12P/N,  stage 2 2P + (2P + 12P)/N,  stage 3 (2P + 2P + 12P)/N.

This module also counts frozen parameters, which have weights only, and weights of 4 bytes. DeepSpeed keeps an
fp32 copy of the weights from stage 1 on, even beside fp32 weights, and at stage 0 beside 2-byte weights. K is 12 with
such a copy and 8 without. Activations (section 3.2) are not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MOMENTS = 8  # bytes for each parameter: AdamW's momentum and variance in fp32
MASTER = 4  # bytes for each parameter: fp32 copy of the weights


@dataclass(frozen=True)
class Layout:
    """How training distributes weights, gradients and optimizer state over ranks and memory.

    Args:
        ranks: number of processes that train together.
        itemsize: bytes of one entry of a weight and of a gradient.
        stage: ZeRO stage; None where training runs without DeepSpeed.
        offloaded: which of "weights" and "optimizer" DeepSpeed keeps in main memory or on a disk.
        adam: False where the optimizer is not Adam or AdamW with fp32 moments; its state is then not computed.
    """

    ranks: int
    itemsize: int
    stage: int | None = None
    offloaded: tuple[str, ...] = ()
    adam: bool = True

    def split(self, count: float, stage: int) -> float:
        """Return a rank's part of `count` bytes: its share if ZeRO partitions them (from `stage` on), else all."""
        return count / self.ranks if (self.stage or 0) >= stage else count

    @property
    def state_bytes(self) -> int:
        """Return K, the bytes of optimizer state for each parameter that trains."""
        has_copy = self.stage is not None and (self.stage > 0 or self.itemsize < MASTER)
        return MOMENTS + (MASTER if has_copy else 0)


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank holds all through training; `optimizer` is None where it was not computed."""

    weights: float
    gradients: float
    optimizer: float | None

    @property
    def total(self) -> float:
        return self.weights + self.gradients + (self.optimizer or 0)


def training_memory(parameters: int, trainable: int, layout: Layout) -> Memory:
    """Return the memory that training a model takes on each rank.

    Args:
        parameters: number of entries of the model's parameters; tied ones count once.
        trainable: number of those entries that train.
        layout: ZeRO stage, ranks and precision.
    """
    state = layout.split(trainable * layout.state_bytes, stage=1) if layout.adam else None
    gradients = layout.split(trainable * layout.itemsize, stage=2)
    return Memory(layout.split(parameters * layout.itemsize, stage=3), gradients, state)


def teacher_memory(parameters: int, itemsize: int, layout: Layout) -> float:
    """Return the bytes that a rank holds of a frozen teacher: all of it, or at ZeRO-3 a share."""
    return layout.split(parameters * itemsize, stage=3)


def checkpoint_bytes(saved: int, parameters: int, trainable: int, layout: Layout, *, sparse: bool = False) -> int:
    """Return the bytes of one checkpoint on disk, with the files of all ranks.

    Logs, random states and other files of a few kB are not counted.

    Args:
        saved: bytes of the model's files: weights or sparse fine-tuning, tokenizer, configuration.
        parameters, trainable, layout: as for `training_memory`.
        sparse: the model trains deltas; DeepSpeed then leaves the frozen weights out of its checkpoint.
    """
    state = trainable * layout.state_bytes if layout.adam else 0
    if layout.stage is None:
        return saved + state
    frozen = 0 if sparse else parameters - trainable
    trained = 0 if layout.stage == 3 else trainable  # at ZeRO-3 trained weights are in the fp32 copy only
    return saved + state + (frozen + trained) * layout.itemsize


@dataclass(frozen=True)
class Checkpoints:
    """How many checkpoints a training writes, and how many of them stay."""

    written: int
    kept: int

    @property
    def at_once(self) -> int:
        """Return how many are on disk at most: the oldest is deleted only after a new one is whole."""
        return min(self.written, self.kept + 1)


@dataclass(frozen=True)
class Saving:
    """When a training saves a checkpoint, and how many it keeps.

    Args:
        strategy: `no`, `steps`, `epoch` or `best`, as `--save_strategy`.
        limit: `--save_total_limit`; None keeps all.
        keeps_best: the best checkpoint is kept, and so is that of each older one that is kept.
    """

    strategy: str
    limit: int | None
    keeps_best: bool

    def of(self, steps: int, every: int, epochs: int) -> Checkpoints:
        """Count the checkpoints of a training of `steps` steps in `epochs` epochs, with a save each `every` steps.

        The training also saves at its last step. The strategy `best` saves only after a better validation; for it, the
        numbers are the most that are possible.
        """
        by_steps = -(-steps // every) if every else 0
        written = {"no": 0, "epoch": epochs}.get(self.strategy, by_steps)
        limit = written if self.limit is None else self.limit + self.keeps_best
        return Checkpoints(written, min(written, limit))


@dataclass(frozen=True)
class Time:
    """Estimate of the seconds that `steps` optimiser steps take, from the timed `seconds` of single steps.

    It assumes that all steps are as long as the median, the fastest or the slowest timed step.
    """

    steps: int
    seconds: Sequence[float]

    @property
    def middle(self) -> float:
        return self.steps * median(self.seconds)

    @property
    def fastest(self) -> float:
        return self.steps * min(self.seconds)

    @property
    def slowest(self) -> float:
        return self.steps * max(self.seconds)
