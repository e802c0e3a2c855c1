"""Phase 1 from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.preparation import prepare
from bistil_ds.distillation.run import train
from bistil_ds.training.starting import start_from_python


def distil_general(**flags: Any) -> Path:
    """Distil a general student from a multilingual teacher on text of one language or more, as `general.py` does.

    Example:
        >>> from bistil_ds import distil_general
        >>> distil_general(text={"en": "en.txt", "tr": "tr.txt"})
        Traceback (most recent call last):
        bistil_ds.errors.InputError: --teacher_model missing: ...

    Args:
        flags: the flags of `general.py`, by name. `teacher_model` and `text` (language → file, folder or hub data set)
            are needed; for two languages, `source_file`, `target_file`, `source_language` and `target_language` may
            stand in place of `text`. `output_dir` is the run folder.

    Returns:
        The run folder. It is also the student's folder, with weights, tokenizer, `kept_ids.json` and `run.json`.

    Raises:
        InputError: a flag, a text, the teacher or the run to resume cannot be used; raised before training.
        NonFiniteError: training met a loss, gradient or weight that is not finite; no model with such values was
            saved.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    return start_from_python(request_of(**flags), prepare, train)
