"""Find which step's weights a finished training keeps, and what its validations measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from bistil_ds.runs.checkpoints import steps_of


def kept_step(args: TrainingArguments, state: TrainerState) -> int:
    """Return the step whose weights are kept: the best checkpoint's if that was loaded at the end, else the last."""
    best = state.best_model_checkpoint if args.load_best_model_at_end else None
    return steps_of(Path(best)) if best else state.global_step


def validation_at(state: TrainerState, step: int, metric: str) -> dict[str, Any] | None:
    """Return the logged row of the validation after a step, which measures `metric`; None if there was none."""
    rows = (row for row in reversed(state.log_history) if row["step"] == step and metric in row)
    return next(rows, None)
