"""`task.py`: phase 2, which distils a student on a task from a task-tuned teacher (BiStil, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bistil_ds.commands.run_command import run_command
from bistil_ds.commands.tuning import tuning_command
from bistil_ds.tuning.student_tuning import StudentTuning

DESCRIPTION = "BiStil phase 2: distil a student on a task, sparsely (LT-SFT), from a task teacher."


def sample_models(task: str) -> Mapping[str, Any]:
    from bistil_ds.commands.sample_runs import sample_student, sample_teacher_sft
    from bistil_ds.sample import sample_mmt

    student, teacher_sft = sample_student(), sample_teacher_sft(task)
    return {"student": str(student), "teacher_model": str(sample_mmt()), "teacher_sft": [str(teacher_sft)]}


COMMAND = tuning_command(StudentTuning, DESCRIPTION, sample_models)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-task` and return its exit code (see `run_command`)."""
    return run_command(COMMAND, argv)


if __name__ == "__main__":
    raise SystemExit(main())
