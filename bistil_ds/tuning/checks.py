"""Check the flags of teacher tuning and phase 2 before a model is built; apply the task's defaults and limits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import zero_stage
from bistil_ds.errors import InputError, blaming
from bistil_ds.models.inputs import is_encoder, load_config, longest_input
from bistil_ds.models.licences import check_licence
from bistil_ds.models.sentence_folder import transformer_folder
from bistil_ds.sparse import SparseArguments
from bistil_ds.tasks import Task
from bistil_ds.training.arguments import check_numbers, check_training_arguments
from bistil_ds.training.flags.idle import refuse_idle
from bistil_ds.training.flags.step_size import StepSize
from bistil_ds.training.request import TrainingRequest, fields_of
from bistil_ds.tuning.arguments import TaskTrainingArguments
from bistil_ds.tuning.request import TuningRequest
from bistil_ds.tuning.stage import UNVALIDATED
from bistil_ds.tuning.tuned_model import TunedModel

STAGES = ("full", "sparse")
# flag → why it has no effect in task training; `training/flags/inherited.py` lists more such flags.
NO_EFFECT = dict.fromkeys(("metric_for_best_model", "greater_is_better"), "a task has its own loss and metric")
NO_EFFECT |= {
    name: f"there are two stages; use --full_{instead} and --sparse_{instead}"
    for name, instead in (("num_train_epochs", "epochs"), ("max_steps", "max_steps"))
}


def idle_flags(kind: type[TunedModel], flags: Mapping[str, Any], task: Task) -> dict[str, str]:
    """Return the flag that has no effect beside the other flags → why, for each such flag."""
    sparse = SparseArguments(**fields_of(SparseArguments, flags))
    return {**sparse.idle(), **kind.of_flags(flags).idle(task, flags)}


def check_effects(kind: type[TunedModel], flags: Mapping[str, Any], task: Task) -> None:
    """Raise InputError if the user gave a flag that has no effect beside the others.

    Not where a run is resumed: earlier versions let runs begin with such flags.

    Args:
        flags: the flags as they were given, before `published_defaults`.
    """
    if not flags["resume_from_checkpoint"]:
        refuse_idle([*kind.types, SparseArguments], flags, idle_flags(kind, flags, task))


def published_defaults(flags: Mapping[str, Any], task: Task) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the flags, with the task's published settings for missing ones, and the stages that had no length."""
    published = tuple(s for s in STAGES if not (flags[f"{s}_epochs"] or flags[f"{s}_max_steps"]))
    filled = {
        name: getattr(task, name)
        for name in ("learning_rate", *(f"{stage}_epochs" for stage in STAGES))
        if flags[name] is None
    }
    return {**flags, **filled}, published


def limit_steps(request: TuningRequest, rows: int) -> SparseArguments:
    """Return `request.sparse`, with stages of published length limited to the task's `max_steps`, if it has any.

    Args:
        request: what the run is asked to do.
        rows: number of training rows; the number of optimiser steps in an epoch follows from it.
    """
    sparse, limit, training = request.sparse, request.task.max_steps, request.training
    if limit is None:
        return sparse
    size = StepSize.of(training.values, startup.world_size())
    steps = size.steps_of_epoch(rows, drop_last=training["dataloader_drop_last"])
    long = [stage for stage in request.published if getattr(sparse, f"{stage}_epochs") * steps > limit]
    changes: dict[str, Any] = {f"{stage}_max_steps": limit for stage in long}
    return replace(sparse, **changes)


def longest_of(request: TuningRequest) -> int:
    """Return the longest input in tokens: the request's, or else the task's, limited to what the model takes.

    Raises:
        InputError: the model cannot be loaded, is no encoder, or takes fewer tokens than --max_length.
    """
    flag, name, wanted = f"--{request.model.models[0]}", request.model.name, request.data.max_length
    config = load_config(flag, name)
    if not is_encoder(config):
        raise InputError(f"{flag} {name}: is a {config.model_type} model; give an encoder such as XLM-R or BERT")
    longest = longest_input(config)
    if wanted is not None and wanted > longest:
        raise InputError(f"--max_length {wanted}: {name} takes at most {longest} tokens")
    return wanted or min(request.task.max_length, longest)


def check_models(request: TuningRequest) -> None:
    """Raise InputError, with the flag, if a model that the request names cannot be trained on its task."""
    flags = request.model.as_flags()
    for name in request.model.models:
        folder = transformer_folder(flags[name], f"--{name}") if request.task.needs_teacher else flags[name]
        config = load_config(f"--{name}", folder)
        with blaming(f"--{name} {flags[name]}"):
            request.task.check_model(config)


def check_flags(kind: type[TunedModel], flags: Mapping[str, Any], task: Task) -> None:
    """Raise InputError for flag values that are wrong whatever the models and files are."""
    check_numbers(flags)
    kind.of_flags(flags).check_losses(task)
    if task.losses == ("similarity",) and (rows := flags["per_device_train_batch_size"]) < 2:
        raise InputError(f"--per_device_train_batch_size {rows}: texts are compared within a batch; give at least 2")
    for flag in ("model_licence", "teacher_licence"):  # a command has one of the two
        check_licence(f"--{flag}", flags.get(flag))
    sparse = SparseArguments(**fields_of(SparseArguments, flags))
    scored = {"metric_for_best_model": f"eval_{task.metric}", "greater_is_better": True}
    kinds: list[dict[str, Any]] = [{}] if sparse.dense or sparse.selection == "random" else [{}, UNVALIDATED]
    training = TrainingRequest.of_flags(TaskTrainingArguments, flags)
    check_training_arguments(training, NO_EFFECT, [{**scored, **changes} for changes in kinds])
    # K, the number of entries, can be checked only in `prepare`, which knows the model.
    sparse.check(sys.maxsize, zero_stage(flags["deepspeed"]) or 0, fp16=flags["fp16"])
