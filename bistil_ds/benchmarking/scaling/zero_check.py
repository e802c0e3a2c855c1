"""Measure the bytes of a phase-1 step under ZeRO on ranks of this machine, to check those that `zero_memory` computes.

Models are in bf16 with random weights, the optimizer is that of training, and DeepSpeed has its defaults. There are few
tokens, so that the bytes are those of weights, gradients and optimizer state. Each rank is a process of its own; on a
CPU the ranks communicate by gloo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from bistil_ds.benchmarking.harness.ranks import on_ranks
from bistil_ds.benchmarking.scaling.collectives import SentBytes
from bistil_ds.benchmarking.scaling.compute import parameters_of
from bistil_ds.benchmarking.scaling.live_bytes import LiveBytes
from bistil_ds.benchmarking.scaling.zero_memory import sent_bytes, state_bytes
from bistil_ds.benchmarking.training_step.ways import Shape, random_steps
from bistil_ds.distributed import startup

SMALL = Shape(length=8, batch=1, layers=8, width=512, heads=8, vocabulary=1000)
STEPS = 3  # gradients meet moments from the second step on
Case = tuple[int, int]  # ZeRO stage and width


def check(ranks: int, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return a row for each case: the most bytes held, and the bytes sent in a step, measured and computed.

    All are for each parameter of the student, and of the rank with the most. The teacher, which is whole on each rank
    here, is left out.
    """
    found = on_ranks(ranks, 1, measure, [(stage, replace(SMALL, width=width)) for stage, width in cases])
    rows = []
    for (stage, _), *measured in zip(cases, *found, strict=True):
        parameters, largest, _, _ = measured[0]
        row: dict[str, Any] = {"stage": stage, "ranks": ranks, "parameters": parameters}
        row |= {"memory": max(held for *_, held, _ in measured) / parameters}
        row |= {"memory_predicted": state_bytes(str(stage), parameters, largest, ranks).most() / parameters}
        row |= {"sent": max(sent for *_, sent in measured) / parameters}
        row |= {"sent_predicted": sent_bytes(str(stage), parameters, 0, ranks) / parameters}
        rows.append(row)
    return rows


def measure(cases: Sequence[tuple[int, Shape]]) -> list[tuple[int, int, int, float]]:
    """Return for each stage and shape: parameters, those of the largest layer, bytes held at most, and bytes sent."""
    return [_measure(stage, shape) for stage, shape in cases]


def _measure(stage: int, shape: Shape) -> tuple[int, int, int, float]:
    import deepspeed

    steps = random_steps(shape, torch.device("cpu"))
    student = steps.student.to(torch.bfloat16)
    teacher = steps.teacher.to(torch.bfloat16)
    parameters, largest = parameters_of(student)
    zero = {"stage": stage, "stage3_param_persistence_threshold": 0, "reduce_bucket_size": shape.width**2}
    config = {
        "train_micro_batch_size_per_gpu": shape.batch,
        "bf16": {"enabled": True},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {**zero, "stage3_prefetch_bucket_size": shape.width**2},
        "steps_per_print": 1_000_000,
    }
    with LiveBytes() as live:
        live.add(teacher.parameters())
        held = live.now
        live.add(student.parameters())
        trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
        wrapped, *_ = deepspeed.initialize(model=student, optimizer=optimizer, config=config)
        for _ in range(STEPS):
            live.peak = live.now
            with SentBytes(startup.world_size()) as counted:
                wrapped.backward(steps.distiller(wrapped, steps.inputs).total)
                wrapped.step()
    return parameters, largest, live.peak - held, counted.total
