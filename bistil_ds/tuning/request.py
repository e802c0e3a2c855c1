"""What a run of teacher tuning or phase 2 is asked to do: its model, data, sparse entries and training arguments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bistil_ds.sparse import SparseArguments
from bistil_ds.tasks import Task, find_task
from bistil_ds.training.request import TrainingRequest
from bistil_ds.tuning.data_request import WORDS, TaskDataRequest, absolute_parallel, absolute_sources
from bistil_ds.tuning.tuned_model import TunedModel


@dataclass(frozen=True)
class TuningRequest:
    """Everything that a run of teacher tuning or phase 2 is asked to do.

    Args:
        model: the model that is trained, and the teacher or losses that it learns from.
        data: the task and its data.
        sparse: how many entries are trained, how they are chosen, and how long each stage is.
        training: the training arguments; among them the run folder and the checkpoint to resume from.
        published: the stages (full, sparse) that have the published length, because the flags gave none. The task may
            limit their steps.
    """

    model: TunedModel
    data: TaskDataRequest
    sparse: SparseArguments
    training: TrainingRequest
    published: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        return self.model.configure(find_task(self.data.task))

    def as_flags(self) -> dict[str, Any]:
        """Return flag → value, for the record.

        Paths of models, SFTs and data are absolute, because the record may be read in another working folder.
        """
        flags = {**self.model.as_flags(), **asdict(self.data)}
        for flag in ("train", "dev"):
            flags[f"{flag}_file"] = absolute_sources(flags.pop(flag))
        unlabelled = absolute_sources(flags.pop("unlabelled")) or None
        parallel, held_out = absolute_parallel(flags.pop("parallel")) or None, flags.pop("held_out")
        if "parallel_file" in flags:  # a flag of task.py
            flags |= {"parallel_file": parallel, "held_out": held_out, "unlabelled_file": unlabelled}
        for name in WORDS:
            flags[name] = list(flags[name]) if flags[name] is not None else None
        for name in (self.model.sfts, *self.model.models):
            flags[name] = _absolute(flags[name])
        return {**flags, **asdict(self.sparse), **self.training.values}


def _absolute(names: Any) -> Any:
    """Return the name or list of names, with each existing file or folder replaced by its absolute path."""
    if not names:
        return names
    paths = [str(Path(one).resolve()) if Path(one).exists() else one for one in _as_list(names)]
    return paths if isinstance(names, list) else paths[0]


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
