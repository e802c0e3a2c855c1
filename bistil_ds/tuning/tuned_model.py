"""What teacher tuning and phase 2 do differently: which model they train, how they build it, with which loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from transformers import PreTrainedModel

from bistil_ds.tasks import Task
from bistil_ds.tuning.arguments import TaskTrainingArguments
from bistil_ds.tuning.data_request import TaskDataRequest
from bistil_ds.tuning.distiller import TaskDistiller

Built = tuple[PreTrainedModel, dict[str, Any]]  # the model to train, and counts for the run's record
MakeDistiller = Callable[[PreTrainedModel, TaskTrainingArguments], TaskDistiller | None]


@dataclass(frozen=True)
class TunedModel(ABC):
    """The model that a run trains on a task, and the teacher or losses that it learns from.

    Attributes:
        script: the script's name, without `.py`.
        types: dataclasses of the flags that name models, sparse fine-tunings (SFTs) and losses.
        models: the flags that name models; the first names the model that is trained.
        sfts: the flag that names SFTs; the user may leave it out.
    """

    script: ClassVar[str]
    types: ClassVar[tuple[type, ...]]
    models: ClassVar[tuple[str, ...]]
    sfts: ClassVar[str]

    @classmethod
    @abstractmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> Self:
        """Return an instance made from the flags that `types` defines; ignore other flags."""

    @abstractmethod
    def as_flags(self) -> dict[str, Any]:
        """Return flag → value."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the folder or hub id of the model that is trained."""

    def configure(self, task: Task) -> Task:
        """Return the task with what the flags choose for it.

        Raises:
            InputError: the task has no such choice.
        """
        return task

    @abstractmethod
    def metadata(self, data: TaskDataRequest) -> dict[str, Any]:
        """Return `base_model`, `base_hash`, and the `licences` of all parts, for the resulting SFT."""

    @abstractmethod
    def labels(self, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        """Return the classes of the model that is trained, in the order of its outputs."""

    @abstractmethod
    def build(self, folder: Path, task: Task, labels: Sequence[str], seed: int) -> Built:
        """Write the models to `folder`; return the model to train, and counts for the record.

        The model to train is written to the subfolder `base`.
        """

    @abstractmethod
    def check_losses(self, task: Task) -> None:
        """Raise InputError for a task or loss weights that the model cannot be trained with."""

    def idle(self, task: Task, flags: Mapping[str, Any]) -> dict[str, str]:
        """Return the flag of `types` that has no effect beside the other flags → why, for each such flag.

        Raises:
            InputError: as `check_losses`.
        """
        return {}

    def distillers(self, build: Path, task: Task, labels: Sequence[str]) -> MakeDistiller:
        """Return a function (a stage's model, its arguments) → the stage's distiller.

        If the function returns None, the stage trains with the model's own loss.
        """
        return lambda model, args: None
