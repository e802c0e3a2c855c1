"""Make the request of a run from the flags of `teacher.py` or `task.py`."""

from __future__ import annotations

from typing import Any

from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError
from bistil_ds.sparse import SparseArguments
from bistil_ds.tasks import find_task
from bistil_ds.tasks.embed.pairs import parse_parallel
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.training.request import TrainingRequest, fields_of, with_defaults
from bistil_ds.tuning.arguments import TaskDataArguments, TaskTrainingArguments
from bistil_ds.tuning.checks import check_effects, check_flags, published_defaults
from bistil_ds.tuning.data_request import WORDS, TaskDataRequest
from bistil_ds.tuning.request import TuningRequest
from bistil_ds.tuning.tuned_model import TunedModel


def flag_types(kind: type[TunedModel]) -> tuple[type, ...]:
    """Return the dataclasses with the flags of the command that trains a model of this kind."""
    return (*kind.types, TaskDataArguments, SparseArguments, TaskTrainingArguments)


def request_of(kind: type[TunedModel], **flags: Any) -> TuningRequest:
    """Return the request that flags of `teacher.py` or `task.py` describe; a missing flag has its default.

    Args:
        kind: `TeacherTuning` or `StudentTuning`.
        flags: values by flag, such as `task="ner"`.

    Raises:
        InputError: a flag is unknown, is needed but missing, or has a value that cannot work; no model or data is read.
    """
    flags = with_defaults(flag_types(kind), flags)
    needed = ["task", *kind.models, "train_file", "dev_file"]
    if flags["task"] and find_task(flags["task"]).needs_teacher:
        needed.remove("dev_file")  # training texts can be held out
    if missing := [f"--{name}" for name in needed if not flags[name]]:
        raise InputError(f"{' '.join(missing)} missing: give them, or no model and file at all for the embedded sample")
    task = kind.of_flags(flags).configure(find_task(flags["task"]))
    check_effects(kind, flags, task)
    flags, published = published_defaults(flags, task)
    check_flags(kind, flags, task)
    data = fields_of(TaskDataRequest, flags)
    data |= {name: tuple(data[name]) for name in WORDS if data[name] is not None}
    data |= {part: tuple(parse_sources(flags[f"{part}_file"] or (), f"--{part}_file")) for part in ("train", "dev")}
    data |= {"unlabelled": tuple(parse_sources(flags.get("unlabelled_file") or (), "--unlabelled_file"))}
    data |= {"parallel": parse_parallel(flags.get("parallel_file"), "--parallel_file")}
    training = TrainingRequest.of_flags(TaskTrainingArguments, flags)
    if training["deepspeed"]:
        training = training.having(deepspeed=str(find_config(training["deepspeed"])))
    sparse = SparseArguments(**fields_of(SparseArguments, flags))
    return TuningRequest(kind.of_flags(flags), TaskDataRequest(**data), sparse, training, published)
