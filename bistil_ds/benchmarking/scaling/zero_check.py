"""Measure the bytes of a phase-1 step under ZeRO on ranks of this machine, to check those that `zero_memory` computes.

Two models that differ only in their number of layers are trained on few tokens. They share libraries and embeddings,
so the difference of their peaks comes from the added parameters: weights, gradients and optimizer state. Models are in
bf16, and each rank is a process of its own; on a CPU the ranks communicate by gloo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bistil_ds.benchmarking.harness.peak_memory import Peak, peak_of
from bistil_ds.benchmarking.harness.ranks import on_ranks
from bistil_ds.benchmarking.scaling.collectives import SentBytes
from bistil_ds.benchmarking.scaling.zero_memory import sent_bytes, state_bytes, teacher_bytes
from bistil_ds.benchmarking.training_step.ways import Shape, random_steps
from bistil_ds.distributed import startup

SMALL = Shape(length=8, batch=1, layers=0, width=512, heads=8, vocabulary=1000)
LAYERS = (4, 12)  # of the teacher; the student has half
STEPS = 3
BUCKETS = (  # DeepSpeed's buffer sizes; made small, so that the peak comes from parameters and optimizer state
    "reduce_bucket_size",
    "allgather_bucket_size",
    "stage3_prefetch_bucket_size",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "sub_group_size",
)


def measure(stage: int, shape: Shape) -> tuple[Peak, float]:
    """Return one rank's peak over STEPS steps, and the bytes that it sent in the last step."""
    sent = [0.0]
    return peak_of(lambda: _stepper(stage, shape, sent), STEPS), sent[0]


def _stepper(stage: int, shape: Shape, sent: list[float]) -> Callable[[], None]:
    """Return a function that runs a step under DeepSpeed and writes the bytes that it sent to `sent[0]`."""
    import deepspeed

    steps = random_steps(shape, torch.device("cpu"))
    student = steps.student.to(torch.bfloat16)
    steps.teacher.to(torch.bfloat16)
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    config = {
        "train_micro_batch_size_per_gpu": shape.batch,
        "bf16": {"enabled": True},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0, **dict.fromkeys(BUCKETS, 10**6)},
        "steps_per_print": 1_000_000,
    }
    optimizer = torch.optim.AdamW(trained, lr=1e-4, foreach=False)
    wrapped, *_ = deepspeed.initialize(model=student, optimizer=optimizer, config=config)

    def step() -> None:
        with SentBytes(startup.world_size()) as counted:
            wrapped.backward(steps.distiller(wrapped, steps.inputs).total)
            wrapped.step()
        sent[0] = counted.total

    return step


def check(stage: int, ranks: int, shape: Shape = SMALL, layers: tuple[int, int] = LAYERS) -> dict[str, Any]:
    """Return a row: bytes held and bytes sent, measured and computed, for each parameter added to the student.

    Added layers of the teacher count as well, in the measured and the computed bytes held. The teacher is whole on each
    rank here, at stage 3 too.
    """
    few, many = (on_ranks(ranks, 1, measure, stage, replace(shape, layers=count)) for count in layers)
    a_layer = _parameters(replace(shape, layers=2)) - _parameters(replace(shape, layers=1))
    added = a_layer * (layers[1] - layers[0]) // 2
    peaks = [max(peak.peak - peak.empty for peak, _ in runs) for runs in (few, many)]
    sent = [max(bytes_ for _, bytes_ in runs) for runs in (few, many)]
    mode = str(stage)
    memory = state_bytes(mode, added, 0, ranks).device + teacher_bytes("0", 2 * added, 0, ranks)
    row: dict[str, Any] = {"stage": stage, "ranks": ranks, "added_parameters": added, "peak_bytes": peaks}
    row |= {"memory": (peaks[1] - peaks[0]) / added, "memory_predicted": memory / added}
    row |= {"sent": (sent[1] - sent[0]) / added, "sent_predicted": sent_bytes(mode, added, 0, ranks) / added}
    return row


def _parameters(shape: Shape) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in shape.model(1, torch.device("meta")).parameters())
