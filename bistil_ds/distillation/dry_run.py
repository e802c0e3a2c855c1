"""The dry run of phase 1: train the first steps of a prepared run, to estimate the time and space of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bistil_ds.distillation.building import STUDENT, TEACHER
from bistil_ds.distillation.preparation import BUILD, PreparedRun
from bistil_ds.distillation.request import DistillationRequest
from bistil_ds.distillation.run import make_trainer
from bistil_ds.distributed import startup
from bistil_ds.models.inputs import load_config
from bistil_ds.runs.record import RunRecord
from bistil_ds.runs.size import tree_bytes
from bistil_ds.student.folder import base_vocab_size, model_bytes
from bistil_ds.training.estimate.arithmetic import Saving, checkpoint_bytes
from bistil_ds.training.estimate.first_steps import UNSAVED, FirstSteps
from bistil_ds.training.estimate.table import COUNTED, Rehearsal, Row, Training, shaped, sized


def rehearse(run: PreparedRun) -> Rehearsal | None:
    """Train the first steps of a run that rank 0 prepared, on every rank; return findings on rank 0, else None."""
    trainer = make_trainer(run, **UNSAVED)
    steps = FirstSteps(trainer)
    trainer.train()
    if startup.rank() > 0:
        return None
    first, build = steps.result, run.folder / BUILD
    beside = tree_bytes(build / STUDENT) - model_bytes(build / STUDENT)  # tokenizer, configuration and our own files
    result = first.parameters * first.layout.itemsize + beside
    checkpoint = checkpoint_bytes(result, first.parameters, first.trainable, first.layout)
    values = run.request.training
    saving = Saving(values["save_strategy"], values["save_total_limit"], values["load_best_model_at_end"])
    training = Training("training", first, checkpoint, saving.of(first.steps, first.save_steps, first.epochs))
    report = RunRecord.open(run.folder).content["results"]["build"]
    return Rehearsal(
        read=_read(run.request, report["chunks"]),
        built=_built(build, report),
        trainings=[training],
        build_bytes=tree_bytes(build),
        result_bytes=result,
        keeps_checkpoints=True,
    )


def _read(request: DistillationRequest, chunks: dict[str, dict[str, int]]) -> list[Row]:
    rows = []
    for corpus in request.corpora:
        found = chunks[corpus.language]
        rows.append((f"{corpus.language}: {sized(corpus.file)}", f"{len(corpus.read()):,} texts", COUNTED))
        rows.append((f"  chunks of {request.packing.max_length} tokens", f"{found['train']:,}", COUNTED))
        rows.append(("  and for validation", f"{found['validation']:,}", COUNTED))
    return rows


def _built(build: Path, report: dict[str, Any]) -> list[Row]:
    teacher, student = (load_config("", build / part) for part in (TEACHER, STUDENT))
    base = base_vocab_size(build / STUDENT)
    return [
        (f"teacher, {shaped(teacher)}", f"{report['teacher_parameters']:,} parameters", COUNTED),
        ("vocabulary kept", f"{student.vocab_size:,} of {base:,} tokens", COUNTED),
        ("teacher, trimmed", f"{report['trimmed_teacher_parameters']:,} parameters", COUNTED),
        (f"student, {shaped(student)}", f"{report['student_parameters']:,} parameters", COUNTED),
    ]
