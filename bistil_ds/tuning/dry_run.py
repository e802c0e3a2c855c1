"""Dry run of teacher tuning and phase 2: train the first steps of one stage of each kind, and estimate the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bistil_ds.distributed import startup
from bistil_ds.models.inputs import load_config
from bistil_ds.runs.record import RunRecord
from bistil_ds.runs.size import tree_bytes
from bistil_ds.student.folder import model_bytes
from bistil_ds.training.estimate.arithmetic import Saving, checkpoint_bytes
from bistil_ds.training.estimate.first_steps import UNSAVED, FirstSteps
from bistil_ds.training.estimate.table import COUNTED, Rehearsal, Row, Training, shaped, sized
from bistil_ds.tuning.building import BASE, TEACHER
from bistil_ds.tuning.data import read_data
from bistil_ds.tuning.preparation import BUILD, PreparedRun
from bistil_ds.tuning.request import TuningRequest
from bistil_ds.tuning.run import make_trainer
from bistil_ds.tuning.stage import Stage
from bistil_ds.tuning.trainer import TaskTrainer


def rehearse(run: PreparedRun) -> Rehearsal | None:
    """Train the first steps of one stage of each kind, on every rank; return the findings on rank 0, else None."""
    request, build = run.request, run.folder / BUILD
    iterations = request.sparse.iterations
    once = replace(run, request=replace(request, sparse=replace(request.sparse, iterations=1)))
    timed: list[tuple[Stage, FirstSteps]] = []

    def watch(trainer: TaskTrainer, stage: Stage) -> None:
        timed.append((stage, FirstSteps(trainer)))

    make_trainer(once, watch, **UNSAVED).train()
    if startup.rank() > 0:
        return None
    results = {stage.kind: tree_bytes(stage.result) for stage, _ in timed}
    trainings = [_training(request, stage, steps, build, results[stage.kind], iterations) for stage, steps in timed]
    report = RunRecord.open(run.folder).content["results"]["build"]
    return Rehearsal(
        read=_read(request),
        built=_built(run, report),
        trainings=trainings,
        build_bytes=tree_bytes(build),
        # The results of iteration i of n hold i/n of the entries. The last result is also copied to the run folder.
        result_bytes=round((iterations + 1) / 2 * sum(results.values())) + results[timed[-1][0].kind],
        keeps_checkpoints=False,
    )


def _training(
    request: TuningRequest, stage: Stage, steps: FirstSteps, build: Path, result: int, iterations: int
) -> Training:
    first, values = steps.result, request.training
    beside = tree_bytes(build / BASE) - model_bytes(build / BASE)
    saved = result if first.sparse else first.parameters * first.layout.itemsize + beside
    checkpoint = checkpoint_bytes(saved, first.parameters, first.trainable, first.layout, sparse=first.sparse)
    keeps_best = values["load_best_model_at_end"] and stage.kind != "full"
    saving = Saving(values["save_strategy"], values["save_total_limit"], keeps_best)
    checkpoints = saving.of(first.steps, first.save_steps, first.epochs)
    return Training(f"{stage.kind} stage", first, checkpoint, checkpoints, iterations)


def _read(request: TuningRequest) -> list[Row]:
    examples = read_data(request.data, request.task)
    return [
        (f"{name}, {part.language}: {sized(part.source)}", f"{len(part.examples):,} examples", COUNTED)
        for name, parts in (("train", examples.train), ("dev", examples.dev))
        for part in parts
    ]


def _built(run: PreparedRun, report: dict[str, int]) -> list[Row]:
    build, rows = run.folder / BUILD, list[Row]()
    if (build / TEACHER).is_dir():
        teacher = load_config("", build / TEACHER)
        rows.append((f"teacher, {shaped(teacher)}", f"{report['teacher_parameters']:,} parameters", COUNTED))
    base = load_config("", build / BASE)
    return [
        *rows,
        (f"model to train, {shaped(base)}", f"{report['parameters']:,} parameters", COUNTED),
        ("its vocabulary", f"{base.vocab_size:,} tokens", COUNTED),
        ("classes", f"{len(run.labels):,}", COUNTED),
    ]
