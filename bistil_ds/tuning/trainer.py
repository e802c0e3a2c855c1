"""The trainer of one stage of task training, for a task's data, loss and metric, and in phase 2 for a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_utils import IntervalStrategy

from bistil_ds.models.inputs import padding_id
from bistil_ds.tasks import Task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.prediction import predict
from bistil_ds.tasks.task import Row
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.training.finite_trainer import BatchLoss
from bistil_ds.training.progress import EndOfRun
from bistil_ds.tuning.distiller import TaskDistiller

EXAMPLES = "example"  # key in a batch with the indices of its examples, for error messages


class TaskTrainer(BaseTrainer):
    """Trainer of one stage: trains `model` on labelled `rows`, with the model's own loss or that of phase 2.

    Args:
        model: a model with the task's head, whose config holds the labels.
        args: training arguments; to keep the best checkpoint, `metric_for_best_model` must be `eval_` and the task's
            metric.
        task: the task of the model.
        labels: the classes, in the order of the model's outputs.
        rows: the training data, as the task's `features` returns it.
        dev: name (a language) → validation data.
        distiller: phase 2's loss; None means the model's own loss.
        kwargs: further arguments of `BaseTrainer`.

    Raises:
        NonFiniteError: from `train`, on every rank (see `FiniteTrainer`); the message names the step and the examples.
    """

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
        self.pad_token_id = padding_id(model.config)
        super().__init__(
            model,
            args,
            train_dataset=rows,
            eval_dataset={name: data.rows for name, data in dev.items()},
            data_collator=lambda batch: self._collate(task, batch),
            **kwargs,
        )
        self.task, self.labels, self.dev, self.distiller = task, tuple(labels), dict(dev), distiller
        self.teacher = distiller.teacher if distiller else None
        if args.eval_strategy == IntervalStrategy.STEPS:  # with `epoch`, a validation follows the last step anyway
            self.add_callback(EndOfRun)

    def _collate(self, task: Task, rows: Sequence[Row]) -> dict[str, Any]:
        return {**task.collate(rows, self.pad_token_id), EXAMPLES: [row["example"] for row in rows]}

    def batch_loss(self, model: nn.Module, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
        examples = inputs.pop(EXAMPLES)
        inputs = self.task.draw(inputs, hash((self.args.seed, micro_step, self.args.process_index)))
        shape, epoch = list(inputs["input_ids"].shape), self.state.epoch or 0

        def rows() -> str:
            return f"epoch {epoch:.3f}, input_ids {shape}, examples {examples} (from 0, each in its file)"

        if self.distiller is None:
            loss = model(**inputs).loss
            return BatchLoss(loss, {"loss": loss.detach()}, "train", rows)
        terms = self.distiller(model, inputs, progress)
        return BatchLoss(terms.total, terms.scalars(), "train", rows)

    def log_name(self, group: str, term: str) -> str:
        return term

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure the task's metrics on each validation set, log the values and return them.

        Args:
            eval_dataset, ignore_keys: not used; the validation sets are those of `dev`.
            metric_key_prefix: the prefix `eval` in the names below.

        Returns:
            `eval_<name>_<metric>` for each set, and `eval_<metric>`, the mean of the task's main metric over the sets.
        """
        metrics: dict[str, float] = {}
        for name, data in self.dev.items():
            answers = answers_of(self.model_wrapped, data, self.labels, self.args, self.pad_token_id, "validating")
            for key, value in self.task.scores(data.examples, answers, data.language).items():
                metrics[f"{metric_key_prefix}_{name}_{key}"] = float(value)
        best = self.task.metric
        mean = sum(metrics[f"{metric_key_prefix}_{name}_{best}"] for name in self.dev) / max(len(self.dev), 1)
        metrics[f"{metric_key_prefix}_{best}"] = mean
        return self.log_validation(metrics)


def ask_teacher(distiller: TaskDistiller, data: TaskData, args: Any) -> TaskData:
    """Return validation data with the teacher's answers in its examples; every rank calls this.

    Args:
        args: training arguments.
    """
    pad = padding_id(distiller.teacher.config)
    answers = answers_of(distiller.run_teacher, data, (), args, pad, "asking the teacher:")
    examples = [data.task.with_teacher(*pair) for pair in zip(data.examples, answers, strict=True)]
    return replace(data, examples=examples)


def answers_of(model: nn.Module, data: TaskData, labels: Sequence[str], args: Any, pad: int, doing: str) -> list[Any]:
    """Return the model's answers to validation data, as training arguments ask for them; every rank calls this."""
    return predict(
        model,
        data,
        labels,
        batch_size=args.per_device_eval_batch_size,
        device=args.device,
        pad_token_id=pad,
        rank=args.process_index,
        world_size=args.world_size,
        progress=None if args.disable_tqdm else f"{doing} {data.language}",
    )
