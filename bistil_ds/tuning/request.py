"""What a run of teacher tuning or phase 2 is asked to do: model, data, entries to train and training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bistil_ds.sparse import SparseArguments
from bistil_ds.tasks import ReadOptions, Task, find_task
from bistil_ds.tasks.data import parse_pairs
from bistil_ds.training.request import TrainingRequest
from bistil_ds.tuning.tuned_model import TunedModel

Sources = tuple[tuple[str, str], ...]  # (language, file or hub id) each


@dataclass(frozen=True)
class TaskDataRequest:
    """Task and data.

    Args:
        task: the task's name.
        train, dev: training and validation sources.
        max_length: longest input in tokens; None until the model is known, which may take fewer than the task asks for.
        upsample: repeat smaller training files to the size of the largest.
        columns, label_map: `OURS=THEIRS` words, as the flags have them.
    """

    task: str
    train: Sources
    dev: Sources
    max_length: int | None = None
    upsample: bool = True
    columns: tuple[str, ...] | None = None
    label_map: tuple[str, ...] | None = None

    def reading(self, flag: str) -> ReadOptions:
        """Return how the files of `flag` (`--train_file` or `--dev_file`) are read."""
        return ReadOptions(flag, parse_pairs(self.columns, "--columns"), parse_pairs(self.label_map, "--label_map"))


@dataclass(frozen=True)
class TuningRequest:
    """All that a run of teacher tuning or phase 2 is asked to do.

    Args:
        model: what is trained, and what it learns from.
        data: task and data.
        sparse: which entries are trained, and how long.
        training: the training arguments, run folder and checkpoint to resume among them.
        published: stages (full, sparse) whose length was not given; the task may limit their steps.
    """

    model: TunedModel
    data: TaskDataRequest
    sparse: SparseArguments
    training: TrainingRequest
    published: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        return find_task(self.data.task)

    def as_flags(self) -> dict[str, Any]:
        """Return the values by flag, for the record, with absolute paths: a record is read from other folders too."""
        flags = {**self.model.as_flags(), **asdict(self.data)}
        for flag in ("train", "dev"):
            flags[f"{flag}_file"] = absolute_sources(flags.pop(flag))
        for name in ("columns", "label_map"):
            flags[name] = list(flags[name]) if flags[name] is not None else None
        for name in (self.model.sfts, *self.model.models):
            flags[name] = _absolute(flags[name])
        return {**flags, **asdict(self.sparse), **self.training.values}


def absolute_sources(sources: Sources) -> list[str]:
    """Return each source as `LANGUAGE=FILE`, with an absolute path."""
    return [f"{language}={Path(p).resolve() if Path(p).is_file() else p}" for language, p in sources]


def _absolute(names: Any) -> Any:
    """Return the absolute path of a name, or of each name of a list, that exists on this disk."""
    if not names:
        return names
    paths = [str(Path(one).resolve()) if Path(one).exists() else one for one in _as_list(names)]
    return paths if isinstance(names, list) else paths[0]


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
