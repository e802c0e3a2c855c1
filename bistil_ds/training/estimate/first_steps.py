"""Run the first steps of a real training, time them, and measure what the trainer holds in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from bistil_ds.distributed import startup
from bistil_ds.distributed.partitions import full_size
from bistil_ds.sparse.deltas import attached_to
from bistil_ds.training.estimate.arithmetic import Layout
from bistil_ds.training.graphs.step import STEPS_BEFORE
from bistil_ds.training.speed import peak_memory

WARM_UP, TIMED = 1, 3  # optimiser steps
UNSAVED = {  # training arguments of a run that does not save, validate or log
    "save_strategy": "no",
    "eval_strategy": "no",
    "eval_on_start": False,
    "load_best_model_at_end": False,
    "logging_strategy": "no",
    "report_to": "none",
    "push_to_hub": False,
    "disable_tqdm": True,
}


@dataclass(frozen=True)
class Trained:
    """Findings of the first steps of a training.

    Args:
        parameters, trainable: number of entries of the model, and of those that train; tied ones count once.
        layout: how training distributes them.
        bookkeeping: bytes of indices and start values that a rank holds for sparse deltas; 0 without deltas.
        teacher: number of entries of the teacher; 0 without a teacher.
        teacher_itemsize: bytes of one entry of the teacher; 0 without a teacher.
        examples: rows or chunks in one optimiser step, of all ranks.
        steps: optimiser steps of the whole training.
        epochs: passes over the data in the whole training; the last one may be cut short.
        save_steps: steps between checkpoints if it saves by steps.
        seconds: time of each timed step, on the slowest rank.
        workspace: most bytes of activations, gradients and buffers in these steps, on the rank with the most; None on
            a CPU, where they cannot be told from the rest of the process.
        peak: most bytes that a rank has held. On a GPU: allocated in these steps. On a CPU: resident in the whole
            process so far, with libraries and preparation.
    """

    parameters: int
    trainable: int
    layout: Layout
    bookkeeping: int
    teacher: int
    teacher_itemsize: int
    examples: int
    steps: int
    epochs: int
    save_steps: int
    seconds: tuple[float, ...]
    workspace: int | None
    peak: int

    @property
    def sparse(self) -> bool:
        return self.bookkeeping > 0


class FirstSteps(TrainerCallback):
    """Callback that ends training after a warm-up step and three timed ones, and leaves its findings in `result`.

    The steps are the first of the real run, with its batches, schedule and kernels. In a run of two or three steps, all
    but the warm-up are timed. In a run of one step, that step is timed. With `--cuda_graphs` the warm-up goes on until
    steps are replayed.

    Args:
        trainer: the trainer whose steps are timed; it gets this callback.
    """

    result: Trained

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.ends = trainer, list[float]()
        self.warm_up = STEPS_BEFORE if getattr(trainer.args, "cuda_graphs", False) else WARM_UP
        trainer.remove_callback(PrinterCallback)  # it would print the speed at the end
        trainer.add_callback(self)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(args.device)
        self.ends.append(_now(args.device))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ends.append(_now(args.device))
        control.should_training_stop |= state.global_step >= self.warm_up + TIMED

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        trainer, model = self.trainer, self.trainer.model
        teacher = getattr(trainer, "teacher", None)
        passed = [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
        seconds = _slowest(passed[self.warm_up :] or passed)
        workspace = None
        if args.device.type == "cuda":
            held = torch.cuda.max_memory_allocated(args.device) - torch.cuda.memory_allocated(args.device)
            workspace = max(startup.from_every_rank(held))
        self.result = Trained(
            parameters=sum(map(full_size, model.parameters())),
            trainable=sum(full_size(p) for p in model.parameters() if p.requires_grad),
            layout=layout_of(trainer),
            bookkeeping=_bookkeeping(model),
            teacher=sum(map(full_size, teacher.parameters())) if teacher is not None else 0,
            teacher_itemsize=_itemsize(teacher) if teacher is not None else 0,
            examples=args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
            steps=state.max_steps,
            epochs=state.num_train_epochs,
            save_steps=state.save_steps,
            seconds=seconds,
            workspace=workspace,
            peak=max(startup.from_every_rank(peak_memory(args.device))),
        )


def layout_of(trainer: Trainer) -> Layout:
    """Return how a trainer that has begun to train distributes weights, gradients and optimizer state."""
    args, stage = trainer.args, None
    offloaded, optimizer = list[str](), args.optim.value
    if trainer.is_deepspeed_enabled:
        plugin = trainer.accelerator.state.deepspeed_plugin
        zero = plugin.deepspeed_config.get("zero_optimization", {})
        stage = int(plugin.zero_stage)
        optimizer = str(plugin.deepspeed_config.get("optimizer", {}).get("type", optimizer))
        for name, part in (("optimizer", "offload_optimizer"), ("weights", "offload_param")):
            if (zero.get(part) or {}).get("device", "none") != "none":
                offloaded.append(name)
    adam = optimizer.lower() in ("adam", "adamw", "adamw_torch", "adamw_torch_fused")
    return Layout(args.world_size, _itemsize(trainer.model), stage, tuple(offloaded), adam)


def _itemsize(model: nn.Module) -> int:
    return next(model.parameters()).element_size()


def _bookkeeping(model: nn.Module) -> int:
    deltas = attached_to(model)
    tensors = [t for one in deltas.deltas.values() for t in (one.indices_K, one.start_K)] if deltas else []
    return sum(tensor.nbytes for tensor in tensors)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _slowest(passed: Sequence[float]) -> tuple[float, ...]:
    """Return each step's time on the rank where it took longest."""
    return tuple(max(each) for each in zip(*startup.from_every_rank(list(passed)), strict=True))
