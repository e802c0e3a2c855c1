"""What tuning a teacher and distilling a student on a task share: settling a command on rank 0, and training it."""

from __future__ import annotations

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console
from transformers import AutoTokenizer, PreTrainedModel, TrainerCallback, TrainerState, TrainingArguments
from transformers.utils import logging

from bistil_ds.console import cli
from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError, NonFiniteLossError
from bistil_ds.runs.folder import new_folder, run_folder, whole_or_nothing
from bistil_ds.runs.record import RunRecord, begun, check_same_run
from bistil_ds.sample.tasks import sample_task_file
from bistil_ds.sparse import SparseArguments, maskable_count
from bistil_ds.tasks import Task, find_task
from bistil_ds.training.arguments import as_fields
from bistil_ds.training.speed import peak_memory
from bistil_ds.tuning import checks
from bistil_ds.tuning.arguments import TaskDataArguments, TaskTrainingArguments
from bistil_ds.tuning.data import (
    absolute,
    check_development_files,
    data_hashes,
    development_sets,
    languages_of,
    training_examples,
    training_rows,
)
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer
from bistil_ds.tuning.preparation import BASE, head_parameters
from bistil_ds.tuning.stage import Stage
from bistil_ds.tuning.summary import print_summary
from bistil_ds.tuning.trainer import TaskTrainer

SAMPLE_TASK = "ner"
SAMPLE_TRAINING = {"learning_rate": 1e-3, "full_epochs": 2, "sparse_epochs": 5}  # where nothing else is given
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


def run(command: TuneCommand, argv: Sequence[str] | None) -> int:
    """Returns the exit code: 0, 2 for bad input, 1 when training stopped on a non-finite loss."""
    words = sys.argv[1:] if argv is None else list(argv)
    return cli.run(lambda: _run(command, words))


def _run(command: TuneCommand, words: list[str]) -> None:
    ns = cli.parse(words, _types(command), command.description)
    startup.choose_accelerator()
    logging.disable_progress_bar()  # transformers' bars for every file it writes; training keeps its own
    settled = settle(command, ns) if startup.rank() == 0 else None
    startup.prepare_environment(use_deepspeed=bool(ns.deepspeed))
    startup.start_distributed(use_deepspeed=bool(ns.deepspeed))
    try:
        train(command, startup.from_rank_0(settled))
    except NonFiniteLossError as error:
        raise SystemExit(f"error: {error}") from None
    startup.stop_distributed()


def _types(command: TuneCommand) -> tuple[type, ...]:
    return (*command.types, TaskDataArguments, SparseArguments, TaskTrainingArguments)


def settle(command: TuneCommand, ns: argparse.Namespace) -> dict[str, Any]:
    """Rank 0: check everything, decide what is open, build what is missing. The values every rank goes on with."""
    needed = (*command.models, "train_file", "dev_file")
    sample = not any(getattr(ns, name) for name in (*needed, command.sfts))
    folder = run_folder(ns.output_dir, command.script, ns.resume_from_checkpoint)
    if sample:
        ns.task = ns.task or SAMPLE_TASK
        for name, value in SAMPLE_TRAINING.items():
            setattr(ns, name, value if getattr(ns, name) is None else getattr(ns, name))
    elif missing := [f"--{name}" for name in ("task", *needed) if not getattr(ns, name)]:
        raise InputError(f"{' '.join(missing)} missing: give them, or no model and file at all for the embedded sample")
    task = find_task(ns.task)
    checks.fill_in(ns, task)
    checks.check_arguments(ns, task)
    if sample:  # its files first: for a task it has none of, no model need be made
        ns.train_file, ns.dev_file = ([f"en={sample_task_file(ns.task, 'en', part)}"] for part in ("train", "dev"))
        command.use_sample(ns)
    checks.settle_length(ns, task, command.models[0])
    if ns.deepspeed:
        ns.deepspeed = str(find_config(ns.deepspeed))
    examples = training_examples(ns, task)
    labels = command.labels(ns, task, examples)
    task.check_labels(examples, labels, "--train_file")
    check_development_files(ns, task, labels)
    given, ns.base = _given(command, ns), command.metadata(ns)
    if ns.resume_from_checkpoint:
        ns.output_dir = str(folder)
        _check_resumed(command, ns, given, folder)
        return {**vars(ns), "labels": labels}
    with new_folder(folder, explicit=ns.output_dir is not None) as folder:
        ns.output_dir = str(folder)
        with whole_or_nothing(folder / BUILD) as build:
            model, report = command.prepare(ns, task, labels, build)
            checks.sparse_arguments(ns).check(maskable_count(model), checks.zero_stage(ns), fp16=ns.fp16)
            tokenizer = AutoTokenizer.from_pretrained(build / BASE)
            task.features(examples[:1], tokenizer, labels, ns.max_length, training=True)  # refuses too short a length
    record = RunRecord(folder, arguments=given, seeds={"seed": ns.seed}, data=data_hashes(ns))
    record.update(results={"build": {**report, **ns.base}})
    return {**vars(ns), "labels": labels}


def _given(command: TuneCommand, ns: argparse.Namespace) -> dict[str, Any]:
    """Every argument for the record, files and folders as absolute paths: it is read from other places too."""
    names = {name for kind in _types(command) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    given = {name: value for name, value in vars(ns).items() if name in names}
    for flag in ("train_file", "dev_file"):
        given[flag] = absolute(given[flag], f"--{flag}")
    for name in (command.sfts, *command.models):
        if value := given.get(name):
            paths = [str(Path(one).resolve()) if Path(one).exists() else one for one in _as_list(value)]
            given[name] = paths if isinstance(value, list) else paths[0]
    return given


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _check_resumed(command: TuneCommand, ns: argparse.Namespace, given: dict[str, Any], folder: Path) -> None:
    recorded, data = begun(folder)
    own = (*command.types, TaskDataArguments, SparseArguments)
    names = {name for kind in own for name in kind.__dataclass_fields__} | {"learning_rate", "seed"}  # type: ignore[attr-defined]
    check_same_run(given, recorded, sorted(names), folder)
    for name, found in data_hashes(ns).items():
        if found != data.get(name):
            raise InputError(f"{name}: not the data that the run in {folder} was started with")
    built = RunRecord.open(folder).content.get("results", {}).get("build", {})
    if built.get("base_hash", ns.base["base_hash"]) != ns.base["base_hash"]:
        changed = f"--{command.models[0]} {ns.base['base_model']}"
        raise InputError(f"{changed}: other weights than the run in {folder} was started with")
    if not (folder / BUILD / BASE / "config.json").is_file():
        raise InputError(f"{folder / BUILD / BASE}: missing, so the run cannot be resumed; start a new one")


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
