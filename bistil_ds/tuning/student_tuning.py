"""Phase 2: a student learns from its task teacher's attention maps, hidden states and logits (BiStil, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn
from transformers import PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.attention import is_attention_observable
from bistil_ds.student import load_projections
from bistil_ds.student.folder import read_layer_map
from bistil_ds.tasks import Task
from bistil_ds.tasks.models import base_metadata, load_task_model, recorded_labels
from bistil_ds.training.distiller import check_maps_not_asked
from bistil_ds.training.flags.idle import idle_losses
from bistil_ds.training.licences import gather_licences
from bistil_ds.training.request import fields_of
from bistil_ds.training.teacher import place_teacher, teacher_dtype
from bistil_ds.training.terms import terms_of
from bistil_ds.tuning.arguments import (
    DistilledStudentArguments,
    EmbeddingArguments,
    TaskLossArguments,
    TaskTrainingArguments,
    UnlabelledArguments,
)
from bistil_ds.tuning.building import BASE, TEACHER, prepare_student
from bistil_ds.tuning.data_request import TaskDataRequest
from bistil_ds.tuning.distiller import TaskDistiller, loss_weights
from bistil_ds.tuning.tuned_model import Built, MakeDistiller, TunedModel

OF_DATA = ("parallel_file", "held_out")  # flags of `EmbeddingArguments` that name data


@dataclass(frozen=True)
class StudentTuning(TunedModel):
    """The flags of a phase-2 run that name student and teacher, and the weights and kinds of its losses."""

    script = "task"
    types = (DistilledStudentArguments, TaskLossArguments, EmbeddingArguments, UnlabelledArguments)
    models = ("student", "teacher_model")
    sfts = "teacher_sft"

    asked: DistilledStudentArguments
    losses: TaskLossArguments
    vectors: EmbeddingArguments
    unlabelled: UnlabelledArguments

    @classmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> Self:
        parts: list[Any] = [kind(**fields_of(kind, flags)) for kind in cls.types]
        return cls(*parts)

    def as_flags(self) -> dict[str, Any]:
        return {**asdict(self.asked), **asdict(self.losses), **asdict(self.vectors), **asdict(self.unlabelled)}

    def configure(self, task: Task) -> Task:
        default = EmbeddingArguments()
        chosen = {name: value for name, value in vars(self.vectors).items() if value != getattr(default, name)}
        if task.needs_teacher:
            chosen = {name: value for name, value in chosen.items() if name not in OF_DATA}
        return task.configured(**chosen)

    @property
    def name(self) -> str:
        return str(self.asked.student)

    @property
    def teacher(self) -> tuple[str, Sequence[str]]:
        """Return the teacher's folder or hub id, and the sparse fine-tunings (SFTs) that it carries."""
        return str(self.asked.teacher_model), self.asked.teacher_sft or ()

    def metadata(self, data: TaskDataRequest) -> dict[str, Any]:
        teacher, sfts = self.teacher
        models = {self.name: None, teacher: self.asked.teacher_licence}
        sources = [*data.train, *data.unlabelled, *((name, file) for name, *files in data.parallel for file in files)]
        return {**base_metadata(self.name), "licences": gather_licences(models, sfts, sources, data.data_licence)}

    def labels(self, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        model, sfts = self.teacher
        return recorded_labels(sfts, model, task, "--teacher_model")

    def check_losses(self, task: Task) -> None:
        weights = loss_weights(self.losses, task)
        if self.unlabelled.unlabelled_file and weights["label"].used:
            raise InputError(
                f"--label_weight {self.losses.label_weight}: the text of --unlabelled_file has no labels; leave one of "
                "the two out"
            )

    def idle(self, task: Task, flags: Mapping[str, Any]) -> dict[str, str]:
        weights = loss_weights(self.losses, task)
        absent = {term.name for term in terms_of(phase=2) if term.compute is None} - set(task.losses)
        idle = idle_losses({name: weight for name, weight in weights.items() if name not in absent})
        return {**idle, "held_out": "--dev_file is given"} if flags["dev_file"] else idle

    def build(self, folder: Path, task: Task, labels: Sequence[str], seed: int) -> Built:
        model, sfts = self.teacher
        teacher = load_task_model(model, sfts, task, flag="--teacher_model")
        if not is_attention_observable(teacher.model):
            check_maps_not_asked(self.losses, 2, teacher.model.config.model_type)
        report = {"teacher_parameters": teacher.model.num_parameters()}
        student = prepare_student(folder, self.name, teacher, seed, self.asked.new_head)
        return student.model, {**report, "parameters": student.model.num_parameters()}

    def distillers(self, build: Path, task: Task, labels: Sequence[str]) -> MakeDistiller:
        layers, projections = read_layer_map(build / BASE), load_projections(build / BASE)
        assert layers is not None  # `build` wrote it
        teachers: list[tuple[PreTrainedModel, nn.Module]] = []  # one, shared by all training stages

        def distiller(model: PreTrainedModel, args: TaskTrainingArguments) -> TaskDistiller:
            if not teachers:  # placed only once: at ZeRO-3 it becomes a DeepSpeed engine
                teacher = task.load_model(build / TEACHER, labels)
                config = args.hf_deepspeed_config.config if args.deepspeed else None
                dtype = teacher_dtype(args.teacher_dtype, args.device)
                teachers.append((teacher, place_teacher(teacher, args.device, dtype, config)))
            teacher, placed = teachers[0]
            moved = [p.to(args.device) for p in projections] if projections is not None else None
            return TaskDistiller(model, teacher, task, layers, self.losses, moved, run_teacher=placed)

        return distiller
