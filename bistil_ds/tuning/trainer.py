"""One stage of task training: `transformers.Trainer` with a task's data, loss and metric, and maybe a teacher.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer_callback import ProgressCallback, TrainerControl
from transformers.trainer_utils import IntervalStrategy

from bistil_ds.errors import NonFiniteLossError
from bistil_ds.models.inputs import padding_id
from bistil_ds.tasks import Task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.prediction import predict
from bistil_ds.tasks.task import Row
from bistil_ds.training.base_trainer import SealedTrainer
from bistil_ds.training.energy import energy_counter
from bistil_ds.training.meter import TermMeter
from bistil_ds.training.progress import EndOfRun, ShortProgress
from bistil_ds.training.speed import SpeedMeter, training_flops
from bistil_ds.tuning.distiller import TaskDistiller

EXAMPLES = "example"  # key of a batch: the numbers of its examples, for messages


class TaskTrainer(SealedTrainer):
    """Trainer of one stage: trains `model` on labelled `rows`, by its own loss or by that of phase 2.

    Args:
        model: a model with the task's head, in whose config the labels are.
        args: training arguments; to keep the best checkpoint, `metric_for_best_model` must be `eval_` and the task's
            metric.
        task, labels: what the model is trained for.
        rows: the task's features of the training data.
        dev: name (a language) → validation data.
        distiller: phase 2's loss; None means the model's own loss.
        kwargs: further arguments of `SealedTrainer`.

    Raises:
        NonFiniteLossError: from `train`, before the update; the message names the step and the examples.
    """

    control: TrainerControl
    model: PreTrainedModel

    def __init__(
        self,
        model: PreTrainedModel,
        args: Any,
        *,
        task: Task,
        labels: Sequence[str],
        rows: Sequence[Row],
        dev: Mapping[str, TaskData],
        distiller: TaskDistiller | None = None,
        **kwargs: Any,
    ) -> None:
        if args.n_gpu > 1:
            args._n_gpu = 1  # DataParallel is not supported; launch a process for each GPU instead
        if args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = False
        self.pad_token_id = padding_id(model.config)
        super().__init__(
            model=model,
            args=args,
            train_dataset=rows,
            eval_dataset={name: data.rows for name, data in dev.items()},
            data_collator=lambda batch: self._collate(task, batch),
            **kwargs,
        )
        self.model_accepts_loss_kwargs = False  # else loss and gradients are scaled by accumulation x ranks
        self.task, self.labels, self.dev, self.distiller = task, tuple(labels), dict(dev), distiller
        self.meter = TermMeter()
        self.speed: SpeedMeter | None = None
        self._micro_step = (-1, 0)  # optimiser step, and which of its micro-steps (from 1) was last
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(ShortProgress)
        if args.eval_strategy == IntervalStrategy.STEPS:  # an epoch's validation follows the last step anyway
            self.add_callback(EndOfRun)

    def _collate(self, task: Task, rows: Sequence[Row]) -> dict[str, Any]:
        return {**task.collate(rows, self.pad_token_id), EXAMPLES: [row["example"] for row in rows]}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        step, examples = self.state.global_step, inputs.pop(EXAMPLES)
        self._micro_step = (step, self._micro_step[1] + 1 if self._micro_step[0] == step else 1)
        self._count(inputs["input_ids"])
        if self.distiller is None:
            loss = model(**inputs).loss
            named = {"loss": loss.detach()}
        else:
            terms = self.distiller(model, inputs, step / max(self.state.max_steps, 1))
            loss, named = terms.total, terms.scalars()
        if not torch.isfinite(loss):
            values = {name: round(float(value), 4) for name, value in named.items() if "_" not in name}
            raise NonFiniteLossError(
                f"non-finite loss at step {step + 1}, its micro-step {self._micro_step[1]}, epoch "
                f"{self.state.epoch or 0:.3f}, rank {self.args.process_index}, input_ids "
                f"{list(inputs['input_ids'].shape)}, examples {examples} (from 0, each in its file): {values}; "
                "no update was made"
            )
        self.meter.add("train", named)
        return loss

    def _count(self, ids_BT: Tensor) -> None:
        if self.speed is None:
            teacher = self.distiller.teacher if self.distiller else None
            dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else torch.float32
            flops = training_flops(self.model, teacher, ids_BT.shape[1])
            self.speed = SpeedMeter(flops, self.args.device, dtype, energy_counter())
        self.speed.add(ids_BT.numel())

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure the task's metrics on each validation set, log the values and return them.

        Args:
            eval_dataset, ignore_keys: not used; the sets are those of `dev`.
            metric_key_prefix: `eval` in the names below.

        Returns:
            `eval_<name>_<metric>`, and the mean over the sets of the task's main metric as `eval_<metric>`.
        """
        metrics: dict[str, float] = {}
        for name, data in self.dev.items():
            answers = predict(
                self.model_wrapped,
                data,
                self.labels,
                batch_size=self.args.per_device_eval_batch_size,
                device=self.args.device,
                pad_token_id=self.pad_token_id,
                rank=self.args.process_index,
                world_size=self.args.world_size,
                progress=None if self.args.disable_tqdm else f"validating {name}",
            )
            counts = [self.task.counts(*pair, data.language) for pair in zip(data.examples, answers, strict=True)]
            for key, value in self.task.metrics(sum(counts)).items():  # type: ignore[arg-type]
                metrics[f"{metric_key_prefix}_{name}_{key}"] = float(value)
        best = self.task.metric
        mean = sum(metrics[f"{metric_key_prefix}_{name}_{best}"] for name in self.dev) / max(len(self.dev), 1)
        metrics[f"{metric_key_prefix}_{best}"] = mean
        if self.speed is not None:
            self.speed.restart()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def on_saved(self) -> None:
        if self.speed is not None:
            self.speed.restart()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.speed is not None:
            logs.update(self.meter.drain().get("train", {}) | self.speed.drain(self.args.world_size))
        super().log(logs, start_time)
