"""Teacher tuning: a multilingual model learns a task from labels, with language sparse fine-tunings (SFTs) applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bistil_ds.errors import InputError
from bistil_ds.tasks import Task
from bistil_ds.tasks.models import base_metadata
from bistil_ds.training.licences import gather_licences
from bistil_ds.training.request import fields_of
from bistil_ds.tuning.arguments import TunedModelArguments
from bistil_ds.tuning.building import prepare_base
from bistil_ds.tuning.data_request import TaskDataRequest
from bistil_ds.tuning.tuned_model import Built, TunedModel


@dataclass(frozen=True)
class TeacherTuning(TunedModel):
    """The flags of teacher tuning that name the model.

    The base model of the resulting SFT is this model without its language SFTs.
    """

    script = "teacher"
    types = (TunedModelArguments,)
    models = ("model",)
    sfts = "source_sft"

    asked: TunedModelArguments

    @classmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> Self:
        return cls(TunedModelArguments(**fields_of(TunedModelArguments, flags)))

    def as_flags(self) -> dict[str, Any]:
        return asdict(self.asked)

    @property
    def name(self) -> str:
        return str(self.asked.model)

    def metadata(self, data: TaskDataRequest) -> dict[str, Any]:
        models, sfts = {self.name: self.asked.model_licence}, self.asked.source_sft or ()
        return {**base_metadata(self.name), "licences": gather_licences(models, sfts, data.train, data.data_licence)}

    def labels(self, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        return task.labels(examples)

    def check_losses(self, task: Task) -> None:
        """Accept every task that is learned from labels; teacher tuning has no loss weights.

        Raises:
            InputError: the task is learned from a teacher.
        """
        if task.needs_teacher:
            raise InputError(f"--task {task.name}: is learned from a teacher, not from labels; give it to task.py")

    def build(self, folder: Path, task: Task, labels: Sequence[str], seed: int) -> Built:
        loaded = prepare_base(folder, self.name, self.asked.source_sft or (), task, labels, seed)
        return loaded.model, {"parameters": loaded.model.num_parameters()}
