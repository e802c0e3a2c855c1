"""Rank 0's part of phase 1: check the request, make the run's folder and record, or find where to resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bistil_ds.console.terminal import say
from bistil_ds.distillation import checks
from bistil_ds.distillation.building import STUDENT, TEACHER, build, read_chunks
from bistil_ds.distillation.from_flags import FLAGS
from bistil_ds.distillation.languages import check_same_texts
from bistil_ds.distillation.request import OF_SIDES, DistillationRequest
from bistil_ds.distributed import startup, universal
from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.runs import checkpoints, holding
from bistil_ds.runs.folder import BUILD, is_begun, new_folder, run_folder, whole_or_nothing
from bistil_ds.runs.record import RECORD_FILE, RunRecord, check_same_run, read_start
from bistil_ds.text.batches import steps_of_epochs
from bistil_ds.text.corpus import corpus_hash, readings
from bistil_ds.training.arguments import seals_of
from bistil_ds.training.flags.resuming import check_build, check_start, fixed_flags, of_start
from bistil_ds.training.flags.step_size import StepSize

# Reason → flags that may change when a run is resumed. `training/flags/inherited.py` lists more such flags.
MAY_CHANGE = {
    "how it is computed": ("compile_teacher", "cuda_graphs", "preprocessing_workers"),
    "compared by `check_same_texts`, whichever way names them": ("text", "language_sft", *OF_SIDES),
    "given only where it sets the steps, which are compared": ("num_train_epochs",),
    "stands for flags that are compared": ("preset",),
}


@dataclass(frozen=True)
class PreparedRun:
    """A run whose models lie in its folder, ready for every rank to train.

    Args:
        request: what the run was asked to do.
        folder: the run folder.
        checkpoint: the checkpoint to resume from; None starts at the beginning.
        is_new: True if this start built the models in the folder, False if an earlier start did.
    """

    request: DistillationRequest
    folder: Path
    checkpoint: str | None = None
    is_new: bool = False


def prepare(request: DistillationRequest, *, teacher_may_move: bool = False) -> PreparedRun:
    """Check teacher and texts, then build teacher and student in a new run folder; call it on rank 0 only.

    If the request resumes a run that has begun, build nothing: check that the request matches that run's record.

    Args:
        request: what the run is asked to do.
        teacher_may_move: let a resumed run have its teacher at another path than before. An update of this package
            moves the embedded sample's teacher.

    Raises:
        InputError: a file, the teacher or the run to resume cannot be used.
    """
    resume = request.training["resume_from_checkpoint"]
    folder, seals = run_folder(request.training["output_dir"], "general", resume), seals_of(request.training)
    seals.check_key()
    if resume and is_begun(folder):
        holding.hold(folder)
    checks.check_files(request)
    teacher = checks.check_teacher(request)
    data = _data_hashes(request)
    if resume and is_begun(folder):
        request = _check_resumed(request, folder, data, teacher_may_move)
        checkpoint = _checkpoint(request, folder, resume)
        read_chunks(request, load_tokenizer("", folder / BUILD / STUDENT), progress=True)  # checks or mends the cache
        return PreparedRun(request, folder, checkpoint)
    checks.check_effects(request.plan)
    checks.check_modules(request, teacher)
    explicit = request.training["output_dir"] is not None
    with (
        new_folder(folder, explicit=explicit, stays_held=True) as folder,
        whole_or_nothing(folder / BUILD, seals) as partial,
    ):
        report = build(request, partial)
    if request.training["max_steps"] < 0:
        request = _with_steps(request, _steps(request, report["chunks"]))
    seeds = {"seed": request.training["seed"]}
    results = {"build": report, **of_start(request.training.values)}
    RunRecord(folder, arguments=request.as_flags(), seeds=seeds, data=data, results=results)
    return PreparedRun(request, folder, is_new=True)


def _steps(request: DistillationRequest, chunks: Mapping[str, Mapping[str, int]]) -> int:
    """Return how many optimiser steps the requested epochs take, from the number of chunks of each language."""
    training = request.training
    sizes = [chunks[corpus.language]["train"] for corpus in request.corpora]
    rows = StepSize.of(training.values, startup.world_size()).rows
    return steps_of_epochs(training["num_train_epochs"], sizes, rows, training["language_temperature"])


def _with_steps(request: DistillationRequest, steps: int) -> DistillationRequest:
    return replace(request, training=request.training.having(max_steps=steps))


def _check_resumed(
    request: DistillationRequest, folder: Path, found: Mapping[str, Any], teacher_may_move: bool
) -> DistillationRequest:
    """Check that a request matches the run in `folder`; return it, with the recorded steps if it names only epochs.

    Raises:
        InputError: flags or texts differ from those of the run's start, or its models are missing or damaged.
    """
    recorded, data = read_start(folder)
    if request.training["max_steps"] < 0:
        epochs = {"num_train_epochs": request.training["num_train_epochs"]}
        check_same_run(epochs, recorded, ["num_train_epochs"], folder)
        steps = recorded.get("max_steps")  # what the first start computed from the epochs
        if type(steps) is not int or steps < 1:
            raise InputError(f"{folder / RECORD_FILE}: max_steps is {steps!r}; give --max_steps as the run was started")
        request = _with_steps(request, steps)
    flags = request.as_flags()
    names = fixed_flags(FLAGS, MAY_CHANGE) - set(checks.NO_EFFECT) - ({"teacher_model"} if teacher_may_move else set())
    if request.plan.student:
        names -= set(checks.STUDENTS_OWN)  # version 0.1 accepted them beside --student and ignored them
    check_start(flags, folder)
    later = {"max_texts": None, "language_temperature": None, "keep_first": False}  # flags that earlier versions lacked
    recorded = {**later, **recorded}
    if isinstance(recorded.get("layer_map"), str):  # recorded as the user wrote it, perhaps with spaces
        recorded = {**recorded, "layer_map": ",".join(map(str, checks.parse_layers(recorded["layer_map"])))}
    check_same_run(flags, recorded, sorted(names), folder)
    check_same_texts(request, found, recorded, data, folder)
    check_build(folder, (TEACHER, STUDENT), seals_of(request.training))
    return request


def _checkpoint(request: DistillationRequest, folder: Path, resume: str) -> checkpoints.Checked | None:
    """Return the checkpoint to resume from, converted if these ranks need that; None if there is none."""
    seals = seals_of(request.training)
    checkpoint = checkpoints.find_checkpoint(folder, resume, seals)
    if checkpoint is None:
        say(f"{folder} holds no whole checkpoint: starting at step 0")
        return None
    planned, steps = checkpoints.planned_steps(checkpoint), request.training["max_steps"]
    if planned not in (None, steps):
        raise InputError(f"{checkpoint}: of a run of {planned} steps, where {RECORD_FILE} says {steps}")
    if config := request.training["deepspeed"]:
        universal.fit(checkpoint, startup.world_size(), str(find_config(config)), seals)
    return checkpoints.Checked(checkpoint)


def _data_hashes(request: DistillationRequest) -> dict[str, Any]:
    """Return key → `file`, `sha256` and `read` (see `readings`) of a text; of a hub data set, `file` is its id."""
    return {
        c.key: {"file": c.file, "sha256": corpus_hash(c.file, c.flag), "read": readings(c.file, c.flag, c.column)}
        for c in request.corpora
    }
