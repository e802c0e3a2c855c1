"""The `transformers.Trainer` of both phases: a sealed trainer with kernels, and meters of losses and speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer_callback import ProgressCallback, TrainerControl

from bistil_ds.errors import NonFiniteError, Preempted
from bistil_ds.runs.folder import is_begun, run_of
from bistil_ds.runs.record import RunRecord
from bistil_ds.training.energy import energy_counter
from bistil_ds.training.finite_trainer import BatchLoss
from bistil_ds.training.kernels.choice import KernelChoice, choose_kernels
from bistil_ds.training.meter import TermMeter
from bistil_ds.training.preemption import Preemption, close_displays
from bistil_ds.training.progress import OwnIntervals, ShortProgress
from bistil_ds.training.saving.sealed_trainer import SealedTrainer
from bistil_ds.training.speed import SpeedMeter, training_flops
from bistil_ds.training.trackers import TensorBoardText, keep_in_run_folder


class BaseTrainer(SealedTrainer):
    """`SealedTrainer` that measures, and whose losses and sparse updates the chosen kernels serve.

    A subclass defines `batch_loss` (see `FiniteTrainer`). Each log line holds the mean of every loss term, tokens/s,
    model FLOPs utilisation and memory in GiB. On a machine with an energy counter, it also holds joules per token.

    Args:
        model, args, keep_files, kwargs: see `SealedTrainer`.
    """

    control: TrainerControl
    teacher: nn.Module | None = None  # a subclass sets it; its forward pass counts in the FLOPs utilisation
    _kernel_choice: KernelChoice | None = None  # made at first use, because every rank takes part

    def __init__(self, model: PreTrainedModel, args: Any, *, keep_files: Sequence[Path] = (), **kwargs: Any) -> None:
        if args.n_gpu > 1:
            args._n_gpu = 1  # DataParallel's replicas record no attention; launch a process for each GPU instead
        if args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = False  # there are none: parameters that no loss reaches are frozen
        super().__init__(model=model, args=args, keep_files=keep_files, **kwargs)
        self.model_accepts_loss_kwargs = False  # else loss and gradients are scaled by accumulation x ranks
        keep_in_run_folder(self)  # the files of wandb and mlflow
        self.meter = TermMeter()
        self.speed: SpeedMeter | None = None
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(ShortProgress)
        self.add_callback(Preemption())
        self.add_callback(OwnIntervals())

    # Kernels

    def kernel_choice(self) -> KernelChoice:
        """Return what serves losses and sparse updates (see `choose_kernels`); every rank calls this."""
        if self._kernel_choice is None:
            self._kernel_choice = choose_kernels(self.args)
            TensorBoardText(self, "kernels", self._kernel_choice.as_text())
        return self._kernel_choice

    def record(self, **results: Any) -> None:
        """Add results, as JSON values, to the run's record; a trainer made in Python has none."""
        run = run_of(Path(str(self.args.output_dir)).resolve())
        if self.is_world_process_zero() and is_begun(run):
            RunRecord.open(run).update(results=results)

    # One step

    def before_loss(self, inputs: dict[str, Any]) -> None:
        self._count(inputs["input_ids"])
        if self.args.include_num_input_tokens_seen == "no":  # else transformers counts
            # Checkpoints keep the state, so that a resumed run counts on. Other ranks' batches may be padded otherwise.
            self.state.num_input_tokens_seen += inputs["input_ids"].numel() * self.args.world_size

    def after_loss(self, loss: BatchLoss) -> None:
        self.meter.add(loss.group, loss.terms)

    def floating_point_ops(self, inputs: dict[str, Any]) -> float:
        """Return the FLOPs of training on a batch, the teacher's forward pass included; `state.total_flos` adds up."""
        ids_BT = inputs["input_ids"]
        return training_flops(self.model, self.teacher, ids_BT.shape[1]) * ids_BT.numel()

    def _count(self, ids_BT: Tensor) -> None:
        if self.speed is None:
            dtype = next(self.model.parameters()).dtype
            dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else dtype
            flops = training_flops(self.model, self.teacher, ids_BT.shape[1])
            self.speed = SpeedMeter(flops, self.args.device, dtype, energy_counter())
        self.speed.add(ids_BT.numel())

    # Logging

    def restart_speed(self) -> None:
        """Start a new interval in which speed is measured, so that time outside training does not count."""
        if self.speed is not None:
            self.speed.restart()

    def log_validation(self, metrics: dict[str, float]) -> dict[str, float]:
        """Log the values of a validation, tell the callbacks, and return them."""
        self.restart_speed()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.is_in_train:
            self.check_validation(metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.speed is not None:
            for group, row in self.meter.drain().items():
                logs.update({self.log_name(group, name): value for name, value in row.items()})
            logs.update(self.speed.drain(self.args.world_size))
            if skipped := self.drain_skips():
                logs["skipped_updates"] = skipped
        super().log(logs, start_time)

    def log_name(self, group: str, term: str) -> str:
        """Return the name under which a term of a group is logged."""
        return f"{group}/{term}"

    # Training

    @contextmanager
    def during_training(self) -> Iterator[None]:
        """Train with the chosen kernels, and end the displays of progress if training stops early.

        Raises:
            Preempted: inside `preemption.save_first`, a signal asked to stop, and a checkpoint was saved.
            NonFiniteError: see `FiniteTrainer`.
        """
        self.record(kernels=self.kernel_choice().as_record())
        try:
            with self.kernel_choice().serving():
                yield
        except (Preempted, NonFiniteError):
            close_displays(self)
            raise

    def on_saved(self) -> None:
        """Exclude the time of saving from the measured speed; every rank calls this after a checkpoint is written."""
        self.restart_speed()
