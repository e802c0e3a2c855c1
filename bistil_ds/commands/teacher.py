"""`teacher.py`: tune a multilingual model on a task, by sparse fine-tuning (SFT) or densely.

With `--task mlm` it makes language SFTs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bistil_ds.commands.run_command import run_command
from bistil_ds.commands.tuning import tuning_command
from bistil_ds.tuning.teacher_tuning import TeacherTuning

DESCRIPTION = "Tune a multilingual model on a task by lottery-ticket sparse fine-tuning (or --dense)."


def sample_models(task: str) -> Mapping[str, Any]:
    from bistil_ds.sample import sample_mmt

    return {"model": str(sample_mmt())}


COMMAND = tuning_command(TeacherTuning, DESCRIPTION, sample_models)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-teacher` and return its exit code (see `run_command`)."""
    return run_command(COMMAND, argv)


if __name__ == "__main__":
    raise SystemExit(main())
