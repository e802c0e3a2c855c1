"""`general.py`: phase 1. Distil a teacher into a student, on text of one language or more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bistil_ds.commands.run_command import TrainingCommand, own_flags, run_command
from bistil_ds.distillation import preparation
from bistil_ds.distillation.checks import check_flags
from bistil_ds.distillation.dry_run import rehearse
from bistil_ds.distillation.from_flags import FLAGS, published_defaults, request_of, with_steps
from bistil_ds.distillation.languages import names_nothing
from bistil_ds.distillation.preparation import PreparedRun
from bistil_ds.distillation.presets import PRESETS
from bistil_ds.distillation.request import SIDES
from bistil_ds.distillation.run import train
from bistil_ds.runs.folder import run_folder
from bistil_ds.sample.defaults import SAMPLE_LANGUAGES, SAMPLE_LEARNING_RATE, SAMPLE_LENGTH, SAMPLE_STEPS

DESCRIPTION = (
    "BiStil phase 1: distil a multilingual teacher into a small student of the languages whose text you give: one, two "
    f"or more. Without a teacher and text, on the embedded sample: {SAMPLE_STEPS} steps on chunks of {SAMPLE_LENGTH} "
    f"tokens at {SAMPLE_LEARNING_RATE:g}."
)


def prepare(flags: Mapping[str, Any]) -> PreparedRun:
    """Make a request from the flags and prepare its run (see `bistil_ds.distillation.preparation`).

    Raises:
        InputError: a flag, a file, the teacher or the run to resume cannot be used.
    """
    flags = own_flags(flags, FLAGS)
    sample = names_nothing(flags)
    if sample:
        flags = with_sample(flags)
    return preparation.prepare(request_of(**flags), teacher_may_move=sample)


def with_sample(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a run on the embedded sample; check them before the sample's model is made."""
    defaults = {"max_length": SAMPLE_LENGTH, "learning_rate": SAMPLE_LEARNING_RATE}
    filled = {name: value for name, value in defaults.items() if flags[name] is None}
    flags = published_defaults(with_steps({**flags, **filled}, SAMPLE_STEPS))
    flags |= {f"{side}_language": language for side, language in zip(SIDES, SAMPLE_LANGUAGES, strict=True)}
    run_folder(flags["output_dir"], "general", flags["resume_from_checkpoint"])
    check_flags(flags)

    from bistil_ds.sample import sample_corpora, sample_mmt

    files = sample_corpora()
    flags |= {f"{side}_file": str(files[flags[f"{side}_language"]]) for side in SIDES}
    return {**flags, "teacher_model": str(sample_mmt())}


COMMAND = TrainingCommand(DESCRIPTION, FLAGS, prepare, train, rehearse, PRESETS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-general` and return its exit code (see `run_command`)."""
    return run_command(COMMAND, argv)


if __name__ == "__main__":
    raise SystemExit(main())
