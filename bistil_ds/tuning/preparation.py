"""Rank 0's part of teacher tuning and phase 2: check the request, then make the run's folder and record, or resume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bistil_ds.console.terminal import say
from bistil_ds.distributed.config import zero_stage
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.runs import holding
from bistil_ds.runs.folder import BUILD, is_begun, new_folder, run_folder, whole_or_nothing
from bistil_ds.runs.record import RunRecord, check_same_run, read_start
from bistil_ds.sparse import SparseArguments, maskable_count
from bistil_ds.training.arguments import seals_of
from bistil_ds.training.flags.resuming import check_build, check_start, fixed_flags, of_start
from bistil_ds.tuning.arguments import TaskDataArguments, TaskTrainingArguments
from bistil_ds.tuning.building import BASE
from bistil_ds.tuning.checks import NO_EFFECT, check_models, longest_of
from bistil_ds.tuning.data import check_data, data_hashes, read_data
from bistil_ds.tuning.request import TuningRequest


@dataclass(frozen=True)
class PreparedRun:
    """A run that every rank can train, because its models lie in its folder.

    Args:
        request: what the run was asked to do.
        folder: the run folder.
        labels: the classes, in the order of the model's outputs.
        base: metadata of the resulting sparse fine-tuning (SFT): its base model's name and hash, and licences.
        resume: the checkpoint to resume from, as the user named it; None starts at the beginning.
        is_new: whether this process made the models in the folder; False for a resumed run.
    """

    request: TuningRequest
    folder: Path
    labels: tuple[str, ...]
    base: dict[str, Any]
    resume: str | None = None
    is_new: bool = False


def prepare(request: TuningRequest, *, materials_may_move: bool = False) -> PreparedRun:
    """Check data and models, then write the models into a new run folder; call it on rank 0 only.

    If the request resumes a run that has begun, write nothing, but check that it asks for the same run.

    Args:
        request: what the run is asked to do.
        materials_may_move: whether the models and files of a resumed run may lie at other paths than before. Those of
            the embedded sample do, after an update of this package.

    Raises:
        InputError: a file, a model or the run to resume cannot be used.
    """
    training, model, task = request.training, request.model, request.task
    resume = training["resume_from_checkpoint"]
    folder, seals = run_folder(training["output_dir"], model.script, resume), seals_of(training)
    seals.check_key()
    if resume and is_begun(folder):
        holding.hold(folder)
    longest = longest_of(request)
    check_models(request)
    request = replace(request, data=replace(request.data, max_length=longest))
    examples = read_data(request.data, task, progress=True)
    labels = model.labels(task, [one for part in examples.train for one in part.examples])
    check_data(examples, task, labels)
    base = model.metadata(request.data)
    data = data_hashes(request.data)
    if resume and is_begun(folder):
        _check_resumed(request, base, folder, data, materials_may_move)
        return PreparedRun(request, folder, labels, base, resume)
    explicit = training["output_dir"] is not None
    with (
        new_folder(folder, explicit=explicit, stays_held=True) as folder,
        whole_or_nothing(folder / BUILD, seals) as build,
    ):
        built, report = model.build(build, task, labels, training["seed"])
        request.sparse.check(maskable_count(built), zero_stage(training["deepspeed"]) or 0, fp16=training["fp16"])
        tokenizer = load_tokenizer("", build / BASE)
        first, own = examples.train[0].examples[:1], task.for_model(build / BASE)
        own.features(first, tokenizer, labels, longest, training=True)  # raises if `longest` is too short
        if how := own.describe(longest):
            say(how)
    seeds = {"seed": training["seed"]}
    results = {"build": {**report, **base}, **of_start(training.values)}
    RunRecord(folder, arguments=request.as_flags(), seeds=seeds, data=data, results=results)
    return PreparedRun(request, folder, labels, base, is_new=True)


def _check_resumed(
    request: TuningRequest, base: dict[str, Any], folder: Path, found: dict[str, Any], materials_may_move: bool
) -> None:
    recorded, data = read_start(folder)
    flags, model = request.as_flags(), request.model
    check_start(flags, folder)
    names = fixed_flags((*model.types, TaskDataArguments, SparseArguments, TaskTrainingArguments), {}) - set(NO_EFFECT)
    if materials_may_move:
        names -= {*model.models, model.sfts, "train_file", "dev_file"}
    check_same_run(flags, recorded, sorted(names), folder)
    for name, text in found.items():
        if text not in data.values() if materials_may_move else text != data.get(name):
            raise InputError(f"{name}: not the data that the run in {folder} was started with")
    built = RunRecord.open(folder).content.get("results", {}).get("build", {})
    if built.get("base_hash", base["base_hash"]) != base["base_hash"]:
        changed = f"--{model.models[0]} {base['base_model']}"
        raise InputError(f"{changed}: other weights than the run in {folder} was started with")
    check_build(folder, (BASE,), seals_of(request.training))
