"""Checks of the flags of teacher tuning and phase 2, made before any model is built or training is started."""

from __future__ import annotations

import argparse
import sys

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import check_deepspeed, find_config, read_config
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import is_encoder, load_config, longest_input
from bistil_ds.models.licences import check_licence
from bistil_ds.sparse import SparseArguments
from bistil_ds.tasks import Task
from bistil_ds.training.arguments import ABOVE_0, as_fields, check_training_arguments
from bistil_ds.tuning.arguments import TaskTrainingArguments
from bistil_ds.tuning.distiller import loss_weights

AT_LEAST_1 = (
    "max_length",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "save_total_limit",
)


# a task has its own metric and loss
NO_EFFECT = ("metric_for_best_model", "greater_is_better", "label_smoothing_factor")


def fill_in(ns: argparse.Namespace, task: Task) -> None:
    """Set flags that were not given to the task's published settings, in place.

    `ns.published_lengths` then lists the stages whose length was not given.
    """
    ns.learning_rate = task.learning_rate if ns.learning_rate is None else ns.learning_rate
    ns.published_lengths = [
        stage
        for stage in ("full", "sparse")
        if not (getattr(ns, f"{stage}_epochs") or getattr(ns, f"{stage}_max_steps"))
    ]
    ns.full_epochs = task.full_epochs if ns.full_epochs is None else ns.full_epochs
    ns.sparse_epochs = task.sparse_epochs if ns.sparse_epochs is None else ns.sparse_epochs


def cap_steps(ns: argparse.Namespace, task: Task, rows: int) -> None:
    """Limit each stage of published length to the task's published number of optimiser steps, in place.

    Args:
        rows: number of training rows; the stage's epochs over them are counted in steps of the global batch.
    """
    if task.max_steps is None:
        return
    micro_steps = -(-rows // (ns.per_device_train_batch_size * startup.world_size()))
    steps = -(-micro_steps // ns.gradient_accumulation_steps)
    for stage in ns.published_lengths:
        if getattr(ns, f"{stage}_epochs") * steps > task.max_steps:
            setattr(ns, f"{stage}_max_steps", task.max_steps)


def settle_length(ns: argparse.Namespace, task: Task, flag: str) -> None:
    """Set `ns.max_length`, where it was not given, to the task's, but to no more than the model of --`flag` takes.

    Raises:
        InputError: the model cannot be loaded, is no encoder, or takes fewer tokens than --max_length.
    """
    name = getattr(ns, flag)
    config = load_config(f"--{flag}", name)
    if not is_encoder(config):
        raise InputError(f"--{flag} {name}: is a {config.model_type} model; give an encoder such as XLM-R or BERT")
    longest = longest_input(config)
    if ns.max_length is not None and ns.max_length > longest:
        raise InputError(f"--max_length {ns.max_length}: {name} takes at most {longest} tokens")
    ns.max_length = ns.max_length or min(task.max_length, longest)


def check_arguments(ns: argparse.Namespace, task: Task) -> None:
    """Raise InputError for flag values that cannot work, whatever the files hold."""
    for name in AT_LEAST_1:
        if (value := getattr(ns, name)) is not None and value < 1:
            raise InputError(f"--{name} {value}: expected at least 1")
    for name in ABOVE_0:
        if (value := getattr(ns, name, None)) is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} {value}: expected a number above 0")
    if hasattr(ns, "logit_weight"):  # teacher tuning has no loss weights
        loss_weights(ns, task)
    plain = TaskTrainingArguments.__dataclass_fields__
    for name, instead in (("num_train_epochs", "epochs"), ("max_steps", "max_steps")):
        if getattr(ns, name) != plain[name].default:
            raise InputError(f"--{name}: there are two stages; use --full_{instead} and --sparse_{instead}")
    for name in NO_EFFECT:
        if getattr(ns, name) != plain[name].default:
            raise InputError(f"--{name}: has no effect: a task has its own loss and metric; leave it out")
    for flag in ("model_licence", "teacher_licence"):  # each command has one of them
        check_licence(f"--{flag}", getattr(ns, flag, None))
    check_training_arguments(ns, TaskTrainingArguments)
    check_deepspeed(ns)
    sparse_arguments(ns).check(sys.maxsize, zero_stage(ns), fp16=ns.fp16)  # K is checked later, against the model


def sparse_arguments(ns: argparse.Namespace) -> SparseArguments:
    """Return the flags of sparse fine-tuning among `ns`."""
    return SparseArguments(**as_fields(ns, SparseArguments))


def zero_stage(ns: argparse.Namespace) -> int:
    """Return the ZeRO stage in the run's DeepSpeed file; 0 without one."""
    if not ns.deepspeed:
        return 0
    stage: int = read_config(find_config(ns.deepspeed)).get("zero_optimization", {}).get("stage", 0)
    return stage
