"""Make the request of a phase-1 run from the flags of `general.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_ds.distillation.arguments import (
    PUBLISHED_LEARNING_RATE,
    PUBLISHED_LENGTH,
    PUBLISHED_STEPS,
    DistillationArguments,
    LossArguments,
    ModelArguments,
)
from bistil_ds.distillation.checks import check_flags, parse_layers
from bistil_ds.distillation.languages import check_materials, corpora_of
from bistil_ds.distillation.presets import PRESETS
from bistil_ds.distillation.request import DistillationRequest, Packing, StatedLicences, StudentPlan
from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError
from bistil_ds.training.request import TrainingRequest, fields_of, with_defaults

FLAGS = (ModelArguments, LossArguments, DistillationArguments)


def request_of(**flags: Any) -> DistillationRequest:
    """Return the request for these flags of `general.py`; a flag that is missing has its default.

    No model or text is read.

    Args:
        flags: values by flag, such as `teacher_model="xlm-roberta-base"` and `text={"en": "en.txt", "tr": "tr.txt"}`.

    Raises:
        InputError: a flag is unknown, a needed flag is missing, or a value cannot work.
    """
    flags = published_defaults(with_defaults(FLAGS, with_preset(flags)))
    check_materials(flags)
    check_flags(flags)
    plan = fields_of(StudentPlan, flags)
    if flags["layer_map"] is not None:
        plan["layer_map"] = tuple(parse_layers(flags["layer_map"]))
    return DistillationRequest(
        str(flags["teacher_model"]),
        corpora_of(flags),
        StudentPlan(**plan),
        LossArguments(**fields_of(LossArguments, flags)),
        training_of(flags),
        Packing(flags["max_length"], flags["preprocessing_workers"]),
        StatedLicences(flags["teacher_licence"], tuple(flags["data_licence"]) if flags["data_licence"] else None),
    )


def with_preset(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags, and those that a preset among them stands for; flags beside the preset count instead.

    Raises:
        InputError: there is no such preset.
    """
    if (name := flags.get("preset")) is None:
        return dict(flags)
    if name not in PRESETS:
        raise InputError(f"--preset {name}: expected one of {', '.join(PRESETS)}")
    return {**PRESETS[name], **flags}


def published_defaults(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags, with the published steps, chunk length and learning rate where the user gave none."""
    published = {"max_length": PUBLISHED_LENGTH, "learning_rate": PUBLISHED_LEARNING_RATE}
    filled = {name: value for name, value in published.items() if flags[name] is None}
    return with_steps({**flags, **filled}, PUBLISHED_STEPS)


def with_steps(flags: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return the flags, with `steps` as the run's length if neither steps nor epochs were given."""
    given = flags["max_steps"] != -1 or flags["num_train_epochs"] is not None
    return dict(flags) if given else {**flags, "max_steps": steps}


def training_of(flags: Mapping[str, Any]) -> TrainingRequest:
    """Return the training arguments among the flags; a DeepSpeed file's name is replaced by its path."""
    training = TrainingRequest.of_flags(DistillationArguments, flags)
    return training.having(deepspeed=str(find_config(training["deepspeed"]))) if training["deepspeed"] else training
