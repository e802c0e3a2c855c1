"""What `teacher.py` and `task.py` share: check and prepare on rank 0, then train on every rank."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from bistil_ds.console import cli
from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError, NonFiniteLossError
from bistil_ds.runs.folder import is_begun, new_folder, run_folder, whole_or_nothing
from bistil_ds.runs.record import RunRecord, begun, check_same_run
from bistil_ds.sample.defaults import SAMPLE_TASK, SAMPLE_TRAINING
from bistil_ds.sample.tasks import sample_task_file
from bistil_ds.sparse import SparseArguments, maskable_count
from bistil_ds.tasks import find_task
from bistil_ds.training import preemption
from bistil_ds.tuning import checks
from bistil_ds.tuning.arguments import TaskDataArguments, TaskTrainingArguments
from bistil_ds.tuning.data import (
    absolute,
    check_development_files,
    data_hashes,
    training_examples,
)
from bistil_ds.tuning.preparation import BASE
from bistil_ds.tuning.run import BUILD, TuneCommand, train


def run(command: TuneCommand, argv: Sequence[str] | None) -> int:
    """Run the command on `argv` (default: the process's own); return 0, 2 for bad input, 130 after Ctrl-C, or 75.

    75 means that SIGTERM or SIGUSR1 stopped it and a checkpoint was saved, or training had not begun.

    Raises:
        SystemExit: training stopped on a non-finite loss; the process then exits with code 1.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    return cli.run(lambda: _run(command, words))


def _run(command: TuneCommand, words: list[str]) -> None:
    ns = cli.parse(words, _types(command), command.description)
    startup.choose_accelerator()
    with preemption.stop_at_once():
        settled = settle(command, ns) if startup.rank() == 0 else None
    startup.prepare_environment(use_deepspeed=bool(ns.deepspeed))
    startup.start_distributed(use_deepspeed=bool(ns.deepspeed))
    try:
        with preemption.save_first():
            train(command, startup.from_rank_0(settled))
    except NonFiniteLossError as error:
        raise SystemExit(f"error: {error}") from None
    startup.stop_distributed()


def _types(command: TuneCommand) -> tuple[type, ...]:
    return (*command.types, TaskDataArguments, SparseArguments, TaskTrainingArguments)


def settle(command: TuneCommand, ns: argparse.Namespace) -> dict[str, Any]:
    """Check the flags, set those that were not given, and build the models; call it on rank 0 only.

    Returns:
        The arguments, by name, and the labels, with which every rank trains.

    Raises:
        InputError: a flag, a file, a model or the run to resume cannot be used.
    """
    needed = (*command.models, "train_file", "dev_file")
    sample = not any(getattr(ns, name) for name in (*needed, command.sfts))
    folder = run_folder(ns.output_dir, command.script, ns.resume_from_checkpoint)
    ns.resume_from_checkpoint = ns.resume_from_checkpoint if is_begun(folder) else None
    if sample:
        ns.task = ns.task or SAMPLE_TASK
        for name, value in SAMPLE_TRAINING.items():
            setattr(ns, name, value if getattr(ns, name) is None else getattr(ns, name))
    elif missing := [f"--{name}" for name in ("task", *needed) if not getattr(ns, name)]:
        raise InputError(f"{' '.join(missing)} missing: give them, or no model and file at all for the embedded sample")
    task = find_task(ns.task)
    checks.fill_in(ns, task)
    checks.check_arguments(ns, task)
    if sample:  # files first: they refuse an unknown task before models are made
        ns.train_file, ns.dev_file = ([f"en={sample_task_file(ns.task, 'en', part)}"] for part in ("train", "dev"))
        command.use_sample(ns)
    checks.settle_length(ns, task, command.models[0])
    if ns.deepspeed:
        ns.deepspeed = str(find_config(ns.deepspeed))
    examples = training_examples(ns, task)
    labels = command.labels(ns, task, examples)
    task.check_labels(examples, labels, "--train_file")
    check_development_files(ns, task, labels)
    given, ns.base, data = _given(command, ns), command.metadata(ns), data_hashes(ns)
    if ns.resume_from_checkpoint:
        ns.output_dir = str(folder)
        _check_resumed(command, ns, given, folder, sample)
        return {**vars(ns), "labels": labels}
    with new_folder(folder, explicit=ns.output_dir is not None) as folder:
        ns.output_dir = str(folder)
        with whole_or_nothing(folder / BUILD) as build:
            model, report = command.prepare(ns, task, labels, build)
            checks.sparse_arguments(ns).check(maskable_count(model), checks.zero_stage(ns), fp16=ns.fp16)
            tokenizer = AutoTokenizer.from_pretrained(build / BASE)
            task.features(examples[:1], tokenizer, labels, ns.max_length, training=True)  # refuses too short a length
    record = RunRecord(folder, arguments=given, seeds={"seed": ns.seed}, data=data)
    record.update(results={"build": {**report, **ns.base}})
    return {**vars(ns), "labels": labels}


def _given(command: TuneCommand, ns: argparse.Namespace) -> dict[str, Any]:
    """Return every argument for the record, with absolute paths: a record is read from other folders too."""
    names = {name for kind in _types(command) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    given = {name: value for name, value in vars(ns).items() if name in names}
    for flag in ("train_file", "dev_file"):
        given[flag] = absolute(given[flag], f"--{flag}")
    for name in (command.sfts, *command.models):
        if value := given.get(name):
            paths = [str(Path(one).resolve()) if Path(one).exists() else one for one in _as_list(value)]
            given[name] = paths if isinstance(value, list) else paths[0]
    return given


def _check_resumed(
    command: TuneCommand, ns: argparse.Namespace, given: dict[str, Any], folder: Path, sample: bool
) -> None:
    recorded, data = begun(folder)
    own = (*command.types, TaskDataArguments, SparseArguments)
    names = {name for kind in own for name in kind.__dataclass_fields__} | {"learning_rate", "seed"}  # type: ignore[attr-defined]
    if sample:  # another version of ours keeps its files and models in other folders
        names -= {*command.models, command.sfts, "train_file", "dev_file"}
    check_same_run(given, recorded, sorted(names), folder)
    for name, found in data_hashes(ns).items():
        if found not in data.values() if sample else found != data.get(name):
            raise InputError(f"{name}: not the data that the run in {folder} was started with")
    built = RunRecord.open(folder).content.get("results", {}).get("build", {})
    if built.get("base_hash", ns.base["base_hash"]) != ns.base["base_hash"]:
        changed = f"--{command.models[0]} {ns.base['base_model']}"
        raise InputError(f"{changed}: other weights than the run in {folder} was started with")
    if not (folder / BUILD / BASE / "config.json").is_file():
        raise InputError(f"{folder / BUILD / BASE}: missing, so the run cannot be resumed; start a new one")


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
