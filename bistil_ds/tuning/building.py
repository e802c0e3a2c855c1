"""Save the models of task training, with their heads, in a folder from which every rank loads them.

Rank 0 does this before a ZeRO-3 configuration object exists. Once it exists, transformers partitions every model that
it loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from bistil_ds.errors import blaming
from bistil_ds.models.inputs import load_config
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.student import check_student, load_projections, save_projections
from bistil_ds.student.folder import kept_ids_of, read_layer_map, write_alignment
from bistil_ds.tasks import Task
from bistil_ds.tasks.models import LoadedTaskModel, load_task_model
from bistil_ds.vocabulary import trim_model

BASE, TEACHER = "base", "teacher"


def prepare_base(
    folder: Path, model: str, sfts: Sequence[str], task: Task, labels: Sequence[str], seed: int
) -> LoadedTaskModel:
    """Write `folder/base`, the model from which each training stage starts: with its task head, and with SFTs applied.

    Raises:
        InputError: `load_task_model` raises it.
    """
    torch.manual_seed(seed)
    loaded = load_task_model(model, sfts, task, labels)
    _save(loaded, folder / BASE)
    return loaded


def prepare_student(folder: Path, student: str, teacher: LoadedTaskModel, seed: int, new_head: bool) -> LoadedTaskModel:
    """Write the student with a task head to `folder/base`, and the teacher to `folder/teacher`.

    The teacher is trimmed to the student's vocabulary. The student's head is a copy of the teacher's or, with
    `new_head`, a new one. `folder/base` also holds the layer map and, if there are any, the projections.

    Raises:
        InputError: student and teacher do not fit together.
    """
    torch.manual_seed(seed)
    trimmed = teacher.model
    task = teacher.task.for_student(load_config("--student", student), trimmed.config)
    loaded = load_task_model(student, (), task, teacher.labels, flag="--student")
    kept_ids = kept_ids_of(student, trimmed.config.vocab_size)
    if kept_ids is not None:
        trim_model(trimmed, kept_ids)
    projections = load_projections(student) if Path(student).is_dir() else None
    with blaming(f"--student {student}"):
        layers = check_student(loaded.model, trimmed, read_layer_map(Path(student)), projections)
    if not new_head:
        copy_head(trimmed, loaded.model)
        task.start_head(loaded.model, trimmed, projections)
    _save(loaded, folder / BASE)
    _save(LoadedTaskModel(trimmed, loaded.tokenizer, teacher.task, teacher.labels), folder / TEACHER)
    write_alignment(folder / BASE, teacher=str(trimmed.name_or_path), languages=[], layer_map=layers)
    if projections is not None:
        save_projections(folder / BASE, projections)
    return loaded


def named_head_parameters(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Return name → parameter for the parameters outside the base model."""
    base = {id(parameter) for parameter in model.base_model.parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in base}


def copy_head(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Copy the teacher's task head into the student; do nothing if a name or shape differs, as with another width."""
    theirs, ours = named_head_parameters(teacher), named_head_parameters(student)
    if {name: p.shape for name, p in theirs.items()} == {name: p.shape for name, p in ours.items()}:
        for name, parameter in ours.items():
            parameter.data.copy_(theirs[name].data)


def _save(loaded: LoadedTaskModel, folder: Path) -> None:
    loaded.model.save_pretrained(folder)
    save_tokenizer(loaded.tokenizer, folder)
