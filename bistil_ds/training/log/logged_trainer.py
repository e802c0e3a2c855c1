"""The log of both phases' trainers: means of loss terms, speed and energy; a resumed run's log is that of a whole one.

A checkpoint holds the log so far. Three rules make a run that was killed log what the same run would have logged
without: a line ends before each checkpoint, so that no mean spans one; the validation before the first step is not
repeated; and the mean loss at the end is that of all lines.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.trainer_callback import TrainerControl
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from bistil_ds.training.energy import energy_counter
from bistil_ds.training.finite_trainer import BatchLoss
from bistil_ds.training.meter import TermMeter
from bistil_ds.training.saving.sealed_trainer import SealedTrainer
from bistil_ds.training.speed import SpeedMeter, training_flops


class LoggedTrainer(SealedTrainer):
    """`SealedTrainer` whose log holds means of loss terms, tokens/s, model FLOPs utilisation and memory in GiB.

    Where an energy counter covers the device, they also hold joules per token.

    Args:
        args, kwargs: see `SealedTrainer`.
    """

    control: TrainerControl
    teacher: nn.Module | None = None  # a subclass sets it; its forward pass counts in the FLOPs utilisation

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.meter = TermMeter()
        self.speed: SpeedMeter | None = None

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
            self.speed = SpeedMeter(flops, self.args.device, dtype, energy_counter(self.args.device))
        self.speed.add(ids_BT.numel())

    # Logging

    def restart_speed(self) -> None:
        """Start a new interval in which speed is measured, so that time outside training does not count."""
        if self.speed is not None:
            self.speed.restart()

    def on_saved(self) -> None:
        """Exclude the time of saving from the measured speed; every rank calls this after a checkpoint is written."""
        self.restart_speed()

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
        if "train_loss" in logs:
            logs["train_loss"] = self._mean_loss(logs["train_loss"])
        super().log(logs, start_time)

    def _mean_loss(self, since_resumed: float) -> float:
        """Return the mean loss of all steps if the log covers them, else that of the steps since the checkpoint."""
        total, covered = 0.0, 0
        for row in self.state.log_history:
            if "loss" in row:
                total, covered = total + row["loss"] * (row["step"] - covered), row["step"]
        return total / covered if covered == self.state.global_step > 0 else since_resumed

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        may_save = self.args.save_strategy == SaveStrategy.BEST and self.control.should_evaluate
        if (self.control.should_save or may_save) and self.args.logging_strategy != IntervalStrategy.NO:
            self.control.should_log = True
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        if skip_scheduler and self.state.global_step:  # --eval_on_start in a run that goes on
            return {}
        metrics: dict[str, float] = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        return metrics

    def log_name(self, group: str, term: str) -> str:
        """Return the name under which a term of a group is logged."""
        return f"{group}/{term}"
