"""Teacher tuning and phase 2 from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bistil_ds.training.starting import start_from_python
from bistil_ds.tuning.from_flags import request_of
from bistil_ds.tuning.preparation import prepare
from bistil_ds.tuning.run import train
from bistil_ds.tuning.student_tuning import StudentTuning
from bistil_ds.tuning.teacher_tuning import TeacherTuning


def tune_teacher(**flags: Any) -> Path:
    """Tune a multilingual model on a task by lottery-ticket sparse fine-tuning, as `teacher.py` does.

    Example:
        >>> from bistil_ds import tune_teacher
        >>> tune_teacher(task="ner", model="mmt")
        Traceback (most recent call last):
        bistil_ds.errors.InputError: --train_file --dev_file missing: ...

    Args:
        flags: the flags of `teacher.py`, by name: `task`, `model`, `train_file` and `dev_file` (lists) are needed.

    Returns:
        The run folder, from which the sparse fine-tuning can be loaded.

    Raises:
        InputError: a flag, a file, the model or the run to resume cannot be used; raised before training.
        NonFiniteError: training met a loss, gradient or weight that is not finite; no model with such values was
            saved.

    Source: LT-SFT (arXiv 2110.07560).
    """
    return start_from_python(request_of(TeacherTuning, **flags), prepare, train)


def distil_task(**flags: Any) -> Path:
    """Distil a student on a task from a task-tuned teacher, sparsely, as `task.py` does.

    Example:
        >>> from bistil_ds import distil_task
        >>> distil_task(task="ner", student="runs/en-tr")
        Traceback (most recent call last):
        bistil_ds.errors.InputError: --teacher_model --train_file --dev_file missing: ...

    Args:
        flags: the flags of `task.py`, by name: `task`, `student`, `teacher_model`, `train_file` and `dev_file` (lists)
            are needed; `teacher_sft` is a list.

    Returns:
        The run folder, from which the sparse fine-tuning can be loaded.

    Raises:
        InputError: a flag, a file, a model or the run to resume cannot be used; raised before training.
        NonFiniteError: training met a loss, gradient or weight that is not finite; no model with such values was
            saved.

    Source: BiStil (arXiv 2306.01709), section 3.2.
    """
    return start_from_python(request_of(StudentTuning, **flags), prepare, train)
