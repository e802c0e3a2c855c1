"""Measured bytes of a phase-1 step under ZeRO on this machine's ranks, beside what `zero_memory` says.

Two models that differ in their vocabulary alone are run: the difference of their peaks is that of the states of the
added parameters, as libraries, activations and buffers are the same. bf16, one rank a process, gloo on a CPU.
"""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import torch

from bistil_ds import engine
from bistil_ds.benchmarking.memory import Peak, peak_of
from bistil_ds.benchmarking.own_process import InOwnProcess
from bistil_ds.benchmarking.steps import Shape, random_steps
from bistil_ds.benchmarking.zero_memory import sent_bytes, state_bytes, teacher_bytes

SMALL = Shape(length=32, batch=1, layers=2, width=256, heads=4, vocabulary=10_000)
WORDS = (20_000, 60_000)  # added to both models
STEPS = 3


class Rank:
    """One rank of a run."""

    def __init__(self, rank: int, ranks: int, port: int) -> None:
        torch.set_num_threads(1)
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
        engine.choose_accelerator()

    def run(self, mode: str, shape: Shape) -> dict[str, Any]:
        """Peak of a few steps and the bytes this rank gave to collectives in one."""
        engine.prepare_environment(use_deepspeed=True)
        engine.start_distributed(use_deepspeed=True)
        sent: list[int] = []
        peak = peak_of(lambda: self._build(mode, shape, sent), STEPS)
        engine.stop_distributed()
        return {**asdict(peak), "given": sent[-1]}

    def _build(self, mode: str, shape: Shape, sent: list[int]) -> Any:
        import deepspeed
        from deepspeed.comm.comm import comms_logger

        steps = random_steps(shape, torch.device("cpu"))
        student, teacher = steps.student.to(torch.bfloat16), steps.teacher.to(torch.bfloat16)
        trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
        wrapped, *_ = deepspeed.initialize(
            model=student, optimizer=torch.optim.AdamW(trained, lr=1e-4, foreach=False), config=_config(mode)
        )
        assert teacher is steps.distiller.teacher
        gc.collect()

        def step() -> None:
            comms_logger.reset_data()
            wrapped.backward(steps.distiller(wrapped, steps.inputs).total)
            wrapped.step()
            sizes = comms_logger.get_raw_data()
            sent.append(sum(int(size) * found[0] for calls in sizes.values() for size, found in calls.items()))

        return step


def _config(mode: str) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": True},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": int(mode), "stage3_param_persistence_threshold": 0},
        "comms_logger": {"enabled": True, "verbose": False, "prof_all": True, "debug": False},
        "steps_per_print": 1_000_000,
    }


def run_ranks(mode: str, ranks: int, shape: Shape) -> list[dict[str, Any]]:
    """Every rank's `Rank.run`, side by side."""
    port = engine.free_port()
    with ExitStack() as stack, ThreadPoolExecutor(ranks) as together:
        processes = [stack.enter_context(InOwnProcess(Rank, rank, ranks, port)) for rank in range(ranks)]
        return list(together.map(lambda process: process.call("run", mode, shape), processes))
