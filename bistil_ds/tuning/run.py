"""Every rank of a task run: train the stages from what rank 0 prepared, keep the fine-tuning, leave the record."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from transformers import AutoTokenizer, PreTrainedModel, TrainerCallback, TrainerState, TrainingArguments

from bistil_ds.distributed import startup
from bistil_ds.runs.record import RunRecord
from bistil_ds.tasks import Task, find_task
from bistil_ds.training.arguments import as_fields
from bistil_ds.training.speed import peak_memory
from bistil_ds.tuning import checks
from bistil_ds.tuning.arguments import TaskTrainingArguments
from bistil_ds.tuning.data import (
    development_sets,
    languages_of,
    training_rows,
)
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer
from bistil_ds.tuning.preparation import BASE, head_parameters
from bistil_ds.tuning.stage import Stage
from bistil_ds.tuning.summary import print_summary
from bistil_ds.tuning.trainer import TaskTrainer

BUILD = "build"


Prepared = tuple[PreTrainedModel, dict[str, Any]]  # the model that is to be trained, and what is to be recorded


class TuneCommand(ABC):
    """One of the two commands.

    `models` are its flags that name models: all are given or, for the sample, none; `sfts` may be left out.
    """

    script: ClassVar[str]
    description: ClassVar[str]
    types: ClassVar[tuple[type, ...]]
    models: ClassVar[tuple[str, ...]]
    sfts: ClassVar[str]

    @abstractmethod
    def use_sample(self, ns: argparse.Namespace) -> None:
        """Fill in the models of the embedded sample."""

    @abstractmethod
    def labels(self, ns: argparse.Namespace, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        """The classes of the model that is trained."""

    @abstractmethod
    def prepare(self, ns: argparse.Namespace, task: Task, labels: Sequence[str], folder: Path) -> Prepared:
        """Leave the models in `folder`, the one to train in `folder/base`."""

    @abstractmethod
    def metadata(self, ns: argparse.Namespace) -> dict[str, Any]:
        """What the SFT says of its base: `base_model` and `base_hash`."""

    def distiller(self, ns: argparse.Namespace, task: Task, model: PreTrainedModel, args: TaskTrainingArguments) -> Any:
        """The loss of a stage; None: the model's own."""
        return None


def train(command: TuneCommand, values: dict[str, Any]) -> None:
    """Every rank: train from the folder rank 0 prepared, keep the best fine-tuning, leave the run's record."""
    ns = argparse.Namespace(**values)
    folder, task, labels = Path(ns.output_dir), find_task(ns.task), tuple(ns.labels)
    base = folder / BUILD / BASE
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = training_rows(ns, task, tokenizer, labels, progress=startup.rank() == 0)
    checks.cap_steps(ns, task, len(rows))
    dev = development_sets(ns, task, tokenizer, labels)

    def load_model() -> PreTrainedModel:
        model = task.load_model(base, labels)
        if not task.trains_head:
            for parameter in head_parameters(model).values():
                parameter.requires_grad_(False)
        return model

    def make_trainer(model: PreTrainedModel, args: Any, stage: Stage) -> TaskTrainer:
        distiller = command.distiller(ns, task, model, args)
        trainer = TaskTrainer(model, args, task=task, labels=labels, rows=rows, dev=dev, distiller=distiller)
        trainer.add_callback(KeepResult(stage.folder, task.metric))
        return trainer

    args = TaskTrainingArguments(
        **{
            **as_fields(ns, TaskTrainingArguments),
            "metric_for_best_model": f"eval_{task.metric}",
            "greater_is_better": True,
        }
    )
    trainer = LotteryTicketTrainer(
        load_model,
        make_trainer,
        args,
        checks.sparse_arguments(ns),
        base_folder=base,
        metadata={
            **ns.base,
            "task": task.name,
            "labels": list(labels),
            "languages": languages_of(ns.train_file, "--train_file"),
            "max_length": ns.max_length,
        },
    )
    fine_tuning = trainer.train(resume=ns.resume_from_checkpoint)
    peaks = startup.from_every_rank(peak_memory(args.device))
    if startup.rank() == 0:
        fine_tuning.save(folder)
        record = RunRecord.open(folder)
        record.update(results={"peak_memory_bytes": peaks})
        record.finish()
        print_summary(record.content, folder, Console())


class KeepResult(TrainerCallback):
    """Puts into the run's record what a stage came to, when it ends: steps, speed, and the kept checkpoint's metrics.

    Args:
        folder: of the stage, inside the run's.
        metric: the task's main one.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder, self.metric = folder, f"eval_{metric}"

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        history = [row for row in state.log_history if self.metric in row and row["step"]]  # 0: of no checkpoint
        best = args.load_best_model_at_end
        kept: dict[str, Any] = max(history, key=lambda row: row[self.metric] if best else row["step"], default={})
        speeds = sorted(row["tokens_per_second"] for row in state.log_history if "tokens_per_second" in row)
        entry = {
            "stage": self.folder.name,
            "steps": state.global_step,
            "metrics": {name: value for name, value in kept.items() if name.startswith("eval_")},
            "kept_step": kept.get("step"),
            "tokens_per_second": speeds[len(speeds) // 2] if speeds else None,
        }
        record = RunRecord.open(self.folder.parent)
        earlier = [one for one in record.content["results"].get("stages", []) if one["stage"] != entry["stage"]]
        record.update(results={"stages": [*earlier, entry]})
