"""Teacher tuning and phase 2 on every rank: train the stages from the folder that rank 0 prepared."""

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


Prepared = tuple[PreTrainedModel, dict[str, Any]]  # the model to train, and what the record keeps


class TuneCommand(ABC):
    """Teacher tuning or phase 2, as a command.

    Attributes:
        script: the script's name, without `.py`.
        description: what `--help` says of it.
        types: dataclasses of the flags that only this command has.
        models: flags that name models; either all are given or, for the embedded sample, none.
        sfts: the flag that names SFTs; it may be left out.
    """

    script: ClassVar[str]
    description: ClassVar[str]
    types: ClassVar[tuple[type, ...]]
    models: ClassVar[tuple[str, ...]]
    sfts: ClassVar[str]

    @abstractmethod
    def use_sample(self, ns: argparse.Namespace) -> None:
        """Set the flags of models and SFTs that a run on the embedded sample needs, in place."""

    @abstractmethod
    def labels(self, ns: argparse.Namespace, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        """Return the classes of the model that is trained, in the order of its outputs."""

    @abstractmethod
    def prepare(self, ns: argparse.Namespace, task: Task, labels: Sequence[str], folder: Path) -> Prepared:
        """Write the models to `folder`, the one to train to `folder/base`; return it and what the record keeps."""

    @abstractmethod
    def metadata(self, ns: argparse.Namespace) -> dict[str, Any]:
        """Return what the SFT records of its base: `base_model` and `base_hash`."""

    def distiller(self, ns: argparse.Namespace, task: Task, model: PreTrainedModel, args: TaskTrainingArguments) -> Any:
        """Return the loss of a stage; None means the model's own loss."""
        return None


def train(command: TuneCommand, values: dict[str, Any]) -> None:
    """Train from the folder that rank 0 prepared, then save the SFT and complete the run's record.

    Every rank calls this with the same `values`: the arguments as rank 0 settled them, and the labels, by name.
    """
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
    """Callback that records the outcome of a stage when it ends: steps, speed, and the kept checkpoint's metrics.

    Args:
        folder: the stage's folder inside the run folder.
        metric: the task's main metric.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder, self.metric = folder, f"eval_{metric}"

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        history = [row for row in state.log_history if self.metric in row and row["step"]]  # 0: no checkpoint
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
