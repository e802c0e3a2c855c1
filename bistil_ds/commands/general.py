"""`general.py`: phase 1, which distils a teacher, on text of two languages, into a bilingual student folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bistil_ds.console import cli
from bistil_ds.distillation import checks, preparation
from bistil_ds.distillation.arguments import (
    PUBLISHED_LEARNING_RATE,
    PUBLISHED_LENGTH,
    PUBLISHED_STEPS,
    DistillationArguments,
    LossArguments,
    ModelArguments,
)
from bistil_ds.distillation.run import train
from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError, NonFiniteLossError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.folder import is_begun, new_folder, run_folder
from bistil_ds.runs.record import RunRecord, begun, check_same_run
from bistil_ds.sample.defaults import SAMPLE_LANGUAGES, SAMPLE_LEARNING_RATE, SAMPLE_LENGTH, SAMPLE_STEPS
from bistil_ds.training import preemption

DESCRIPTION = (
    "BiStil phase 1: distil a multilingual teacher into a small bilingual student. Without a teacher and text, on the "
    f"embedded sample: {SAMPLE_STEPS} steps on chunks of {SAMPLE_LENGTH} tokens at {SAMPLE_LEARNING_RATE:g}."
)
TYPES = (ModelArguments, LossArguments, DistillationArguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-general` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C, or 75.

    75 means that SIGTERM or SIGUSR1 stopped it and a checkpoint was saved, or training had not begun.

    Raises:
        SystemExit: training stopped on a non-finite loss; the process then exits with code 1.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    return cli.run(lambda: _main(arguments))


def _main(argv: list[str]) -> None:
    ns = cli.parse(argv, TYPES, DESCRIPTION)
    startup.choose_accelerator()
    with preemption.stop_at_once():
        settled = settle(ns) if startup.rank() == 0 else None
    startup.prepare_environment(use_deepspeed=bool(ns.deepspeed))
    startup.start_distributed(use_deepspeed=bool(ns.deepspeed))
    try:
        with preemption.save_first():
            train(startup.from_rank_0(settled))
    except NonFiniteLossError as error:
        raise SystemExit(f"error: {error}") from None
    startup.stop_distributed()


def settle(ns: argparse.Namespace) -> dict[str, Any]:
    """Check the flags, set those that were not given, and build teacher and student; call it on rank 0 only.

    Returns:
        The arguments, by name, with which every rank trains.

    Raises:
        InputError: a flag, a file, the teacher or the run to resume cannot be used.
    """
    sample = not any(getattr(ns, name) for name in checks.NEEDED)
    if ns.max_steps == -1:
        ns.max_steps = SAMPLE_STEPS if sample else PUBLISHED_STEPS
    if ns.max_length is None:
        ns.max_length = SAMPLE_LENGTH if sample else PUBLISHED_LENGTH
    if ns.learning_rate is None:
        ns.learning_rate = SAMPLE_LEARNING_RATE if sample else PUBLISHED_LEARNING_RATE
    folder = run_folder(ns.output_dir, "general", ns.resume_from_checkpoint)
    ns.resume_from_checkpoint = ns.resume_from_checkpoint if is_begun(folder) else None
    if sample:
        ns.source_language, ns.target_language = SAMPLE_LANGUAGES
        ns.teacher_model = ns.source_file = ns.target_file = "the embedded sample"
    checks.check_arguments(ns)
    if ns.deepspeed:
        ns.deepspeed = str(find_config(ns.deepspeed))
    if sample:
        _use_sample(ns)
    checks.check_files(ns)
    checks.check_teacher(ns)
    given, data = _given(ns), _data_hashes(ns)
    if ns.resume_from_checkpoint:
        ns.output_dir = str(folder)
        _settle_resume(ns, given, folder, sample)
        return vars(ns)
    with new_folder(folder, explicit=ns.output_dir is not None) as folder:
        ns.output_dir = str(folder)
        report = preparation.prepare(ns, folder / "build", Console())
    record = RunRecord(folder, arguments=given, seeds={"seed": ns.seed}, data=data)
    record.update(results={"build": report})
    return vars(ns)


def _given(ns: argparse.Namespace) -> dict[str, Any]:
    """Return every argument for the record, with folders as absolute paths: a run may be resumed from elsewhere."""
    given = {name: getattr(ns, name) for kind in TYPES for name in kind.__dataclass_fields__ if hasattr(ns, name)}
    for name in ("teacher_model", "student", "source_sft", "target_sft"):
        if given[name] and Path(given[name]).exists():
            given[name] = str(Path(given[name]).resolve())
    return given


def _use_sample(ns: argparse.Namespace) -> None:
    from bistil_ds.sample import sample_corpora, sample_mmt

    files = sample_corpora()
    ns.teacher_model = str(sample_mmt())
    ns.source_file, ns.target_file = str(files[ns.source_language]), str(files[ns.target_language])


def _settle_resume(ns: argparse.Namespace, given: dict[str, Any], folder: Path, sample: bool) -> None:
    recorded, data = begun(folder)
    names = {*ModelArguments.__dataclass_fields__, *LossArguments.__dataclass_fields__, "max_steps", "seed"}
    names -= {"preprocessing_workers", "source_file", "target_file"}
    if sample:  # another version of ours keeps its model in another folder; what was built from it is in the run's
        names -= {"teacher_model"}
    check_same_run(given, recorded, sorted(names), folder)
    for side, found in _data_hashes(ns).items():
        if (found["sha256"] or found["file"]) != (data[side]["sha256"] or data[side]["file"]):
            raise InputError(f"--{side}_file {found['file']}: not the text that the run in {folder} was started with")
    for part in (preparation.TEACHER, preparation.STUDENT):
        if not (folder / "build" / part / "config.json").is_file():
            raise InputError(f"{folder / 'build' / part}: missing, so the run cannot be resumed; start a new one")
    checkpoint = checkpoints.find_checkpoint(folder, ns.resume_from_checkpoint)
    ns.resume_from_checkpoint = str(checkpoint) if checkpoint else None
    if checkpoint is None:
        Console().print(f"{folder} holds no whole checkpoint: starting at step 0", soft_wrap=True)
    elif ns.deepspeed and checkpoints.world_size_of(checkpoint) != startup.world_size():
        checkpoints.to_universal(checkpoint)


def _data_hashes(ns: argparse.Namespace) -> dict[str, Any]:
    """Return path and SHA-256 of the two text files; for a hub id, the id and None."""
    paths = {"source": Path(ns.source_file), "target": Path(ns.target_file)}
    return {k: {"file": str(p), "sha256": file_hash(p) if p.is_file() else None} for k, p in paths.items()}


if __name__ == "__main__":
    raise SystemExit(main())
