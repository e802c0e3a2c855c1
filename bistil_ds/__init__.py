"""BiStil under DeepSpeed: distil a massively multilingual Transformer into a small student of a few languages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bistil_ds.distillation.distil import distil_general
    from bistil_ds.distillation.trainer import DistillationTrainer
    from bistil_ds.evaluation import evaluate
    from bistil_ds.export.export_model import export_model
    from bistil_ds.sft.fine_tuning import SparseFineTuning
    from bistil_ds.student import build_student
    from bistil_ds.trimming.trim import trim_pretrained
    from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer
    from bistil_ds.tuning.tune import distil_task, tune_teacher
    from bistil_ds.vocabulary import trim_vocabulary

__all__ = [
    "DistillationTrainer",
    "LotteryTicketTrainer",
    "SparseFineTuning",
    "build_student",
    "distil_general",
    "distil_task",
    "evaluate",
    "export_model",
    "trim_pretrained",
    "trim_vocabulary",
    "tune_teacher",
]

_HOMES = {
    "DistillationTrainer": "bistil_ds.distillation.trainer",
    "LotteryTicketTrainer": "bistil_ds.tuning.lottery_ticket",
    "SparseFineTuning": "bistil_ds.sft.fine_tuning",
    "build_student": "bistil_ds.student",
    "distil_general": "bistil_ds.distillation.distil",
    "distil_task": "bistil_ds.tuning.tune",
    "evaluate": "bistil_ds.evaluation",
    "export_model": "bistil_ds.export.export_model",
    "trim_pretrained": "bistil_ds.trimming.trim",
    "trim_vocabulary": "bistil_ds.vocabulary",
    "tune_teacher": "bistil_ds.tuning.tune",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, because torch and transformers take seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
