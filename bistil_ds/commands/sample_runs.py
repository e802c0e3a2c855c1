"""Models that commands need when they run on the embedded sample; each is trained once and kept in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import bistil_kernels

import bistil_ds
from bistil_ds.errors import InputError
from bistil_ds.sample.cached import cached, code_hash

TRAINING_ROOMS = (
    *("commands", "distillation", "distributed", "models", "sft", "sparse"),
    *("student", "tasks", "text", "training", "tuning", "vocabulary"),
)
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def sample_student() -> Path:
    """Return the folder of a student that phase 1 distilled from the sample's multilingual model."""
    return cached(f"student-{_code_hash()}", lambda folder: _run("general", folder))


def sample_teacher_sft(task: str) -> Path:
    """Return the folder of a sparse fine-tuning (SFT) of the sample's multilingual model on a task's English data."""
    return cached(f"teacher-{task}-{_code_hash()}", lambda folder: _run("teacher", folder, "--task", task))


def sample_student_and_sft(task: str) -> tuple[Path, Path]:
    """Return the folders of the sample's student and of its SFT for a task, which phase 2 trained."""
    sft = cached(f"task-{task}-{_code_hash()}", lambda folder: _run("task", folder, "--task", task))
    return sample_student(), sft


def _run(command: str, folder: Path, *flags: str) -> None:
    """Run one of our commands on the sample. It runs in a new process, because this process may be a rank.

    Raises:
        InputError: the command failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _RANK_VARIABLES}
    words = [sys.executable, "-m", f"bistil_ds.commands.{command}", *flags, "--output_dir", str(folder)]
    if subprocess.run(words, env=environment, check=False).returncode:
        raise InputError(f"the embedded sample could not be made ready: {' '.join(words[1:])} failed")
    for part in folder.glob("**/checkpoint-*"):
        shutil.rmtree(part, ignore_errors=True)


@cache
def _code_hash() -> str:
    """Return a hash of the code that trains the models; when the hash changes, they are trained again."""
    package = Path(bistil_ds.__file__).parent
    folders = [*(package / room for room in TRAINING_ROOMS), Path(bistil_kernels.__file__).parent]
    files = [package / "sample" / name for name in ("defaults.py", "tasks.py")]
    files += [path for folder in folders for path in folder.rglob("*.py")]
    return code_hash(sorted(files))[:12]
