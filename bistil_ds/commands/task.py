"""`task.py`: phase 2, which distils a student on a task from a task-tuned teacher (BiStil, section 3.2)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from bistil_ds.commands.tuning import run
from bistil_ds.student import load_projections
from bistil_ds.student.folder import read_layer_map
from bistil_ds.tasks import Task
from bistil_ds.tasks.models import base_metadata, load_task_model, recorded_labels
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.training.arguments import as_fields
from bistil_ds.training.licences import gather_licences
from bistil_ds.training.teacher import place_teacher, teacher_dtype
from bistil_ds.tuning.arguments import DistilledStudentArguments, TaskLossArguments, TaskTrainingArguments
from bistil_ds.tuning.distiller import TaskDistiller
from bistil_ds.tuning.preparation import BASE, TEACHER, prepare_student
from bistil_ds.tuning.run import BUILD, Prepared, TuneCommand


class TuneStudent(TuneCommand):
    """Phase 2: the student learns from the teacher's attention maps, states and task logits."""

    script = "task"
    description = "BiStil phase 2: distil a bilingual student on a task, sparsely (LT-SFT), from a task teacher."
    types = (DistilledStudentArguments, TaskLossArguments)
    models = ("student", "teacher_model")
    sfts = "teacher_sft"

    def __init__(self) -> None:
        self._teacher: tuple[PreTrainedModel, torch.nn.Module] | None = None

    def use_sample(self, ns: argparse.Namespace) -> None:
        from bistil_ds.commands.sample_runs import sample_student, sample_teacher_sft
        from bistil_ds.sample import sample_mmt

        ns.student, ns.teacher_model = str(sample_student()), str(sample_mmt())
        ns.teacher_sft = [str(sample_teacher_sft(ns.task))]

    def labels(self, ns: argparse.Namespace, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        return recorded_labels(ns.teacher_sft or (), ns.teacher_model, task, "--teacher_model")

    def prepare(self, ns: argparse.Namespace, task: Task, labels: Sequence[str], folder: Path) -> Prepared:
        teacher = load_task_model(ns.teacher_model, ns.teacher_sft or (), task, flag="--teacher_model")
        report = {"teacher_parameters": teacher.model.num_parameters()}
        student = prepare_student(folder, ns.student, teacher, ns.seed, ns.new_head)
        return student.model, {**report, "parameters": student.model.num_parameters()}

    def metadata(self, ns: argparse.Namespace) -> dict[str, Any]:
        models = {ns.student: None, ns.teacher_model: ns.teacher_licence}
        data = parse_sources(ns.train_file, "--train_file")
        licences = gather_licences(models, ns.teacher_sft or (), data, ns.data_licence)
        return {**base_metadata(ns.student), "licences": licences}

    def distiller(
        self, ns: argparse.Namespace, task: Task, model: PreTrainedModel, args: TaskTrainingArguments
    ) -> TaskDistiller:
        build = Path(ns.output_dir) / BUILD
        if self._teacher is None:  # all stages share it: at ZeRO-3 it is an engine
            teacher = task.load_model(build / TEACHER, ns.labels)
            config = args.hf_deepspeed_config.config if args.deepspeed else None
            self._teacher = (
                teacher,
                place_teacher(teacher, args.device, teacher_dtype(args.teacher_dtype, args.device), config),
            )
        teacher, placed = self._teacher
        projections = load_projections(build / BASE)
        layers = read_layer_map(build / BASE)
        assert layers is not None  # preparation wrote it
        return TaskDistiller(
            model,
            teacher,
            task,
            layers,
            TaskLossArguments(**as_fields(ns, TaskLossArguments)),
            [p.to(args.device) for p in projections] if projections is not None else None,
            run_teacher=placed,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-task` and return its exit code (see `run`)."""
    return run(TuneStudent(), argv)


if __name__ == "__main__":
    raise SystemExit(main())
