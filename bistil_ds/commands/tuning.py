"""What `teacher.py` and `task.py` share: from flags to a prepared run, on the embedded sample by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bistil_ds.commands.run_command import TrainingCommand, own_flags
from bistil_ds.errors import InputError
from bistil_ds.runs.folder import run_folder
from bistil_ds.sample.defaults import SAMPLE_TASK, SAMPLE_TRAINING
from bistil_ds.sample.tasks import sample_task_file
from bistil_ds.tasks import find_task
from bistil_ds.tuning import preparation
from bistil_ds.tuning.checks import check_effects, check_flags, idle_flags, published_defaults
from bistil_ds.tuning.dry_run import rehearse
from bistil_ds.tuning.from_flags import flag_types, request_of
from bistil_ds.tuning.preparation import PreparedRun
from bistil_ds.tuning.run import train
from bistil_ds.tuning.tuned_model import TunedModel

# Function (task name → flags): makes the sample's models and sparse fine-tunings, and returns the flags for them.
SampleModels = Callable[[str], Mapping[str, Any]]


def tuning_command(kind: type[TunedModel], description: str, sample_models: SampleModels) -> TrainingCommand:
    """Return the command that trains a model of this kind.

    The command runs on the embedded sample if no flag names a model, a fine-tuning or a file.
    """
    types = flag_types(kind)
    named = (*kind.models, kind.sfts, "train_file", "dev_file")

    def prepare(flags: Mapping[str, Any]) -> PreparedRun:
        flags = own_flags(flags, types)
        sample = not any(flags[name] for name in named)
        if sample:
            flags = with_sample(kind, flags)
            flags |= sample_models(flags["task"])
        return preparation.prepare(request_of(kind, **flags), materials_may_move=sample)

    return TrainingCommand(description, types, prepare, train, rehearse)


def with_sample(kind: type[TunedModel], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a run on the sample's task files; check them before the sample's models are made."""
    task = kind.of_flags(flags).configure(find_task(flags["task"] or SAMPLE_TASK))
    unset = {name for name in SAMPLE_TRAINING if flags[name] is None} - set(idle_flags(kind, flags, task))
    flags = {**flags, **{name: SAMPLE_TRAINING[name] for name in unset}, "task": task.name}
    run_folder(flags["output_dir"], kind.script, flags["resume_from_checkpoint"])
    check_effects(kind, flags, task)
    check_flags(kind, published_defaults(flags, task)[0], task)
    if task.needs_teacher:
        needed = " ".join(f"--{name}" for name in (*kind.models, "train_file"))
        raise InputError(f"--task {task.name}: the embedded sample has no teacher for it; give {needed}")
    files = {part: [f"en={sample_task_file(task.name, 'en', part)}"] for part in ("train", "dev")}
    return {**flags, "train_file": files["train"], "dev_file": files["dev"]}
