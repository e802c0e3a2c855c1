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
from bistil_ds.distillation.checks import check_flags, check_materials, parse_layers
from bistil_ds.distillation.request import Corpus, DistillationRequest, Packing, StatedLicences, StudentPlan
from bistil_ds.distributed.config import find_config
from bistil_ds.training.request import TrainingRequest, fields_of, with_defaults

FLAGS = (ModelArguments, LossArguments, DistillationArguments)


def request_of(**flags: Any) -> DistillationRequest:
    """Return the request that the flags of `general.py` make; a flag that is not given has its default.

    Args:
        flags: values by flag, such as `teacher_model="xlm-roberta-base"`.

    Raises:
        InputError: a flag is unknown, needed and missing, or has a value that cannot work. No model or text is read.
    """
    flags = published_defaults(with_defaults(FLAGS, flags))
    check_materials(flags)
    check_flags(flags)

    def corpus(side: str) -> Corpus:
        language, file, sft = (flags[f"{side}_{name}"] for name in ("language", "file", "sft"))
        return Corpus(side, str(language), str(file), flags["text_column"], sft, flags["max_texts"])

    plan = fields_of(StudentPlan, flags)
    if flags["layer_map"] is not None:
        plan["layer_map"] = tuple(parse_layers(flags["layer_map"]))
    return DistillationRequest(
        str(flags["teacher_model"]),
        corpus("source"),
        corpus("target"),
        StudentPlan(**plan),
        LossArguments(**fields_of(LossArguments, flags)),
        training_of(flags),
        Packing(flags["max_length"], flags["preprocessing_workers"]),
        StatedLicences(flags["teacher_licence"], tuple(flags["data_licence"]) if flags["data_licence"] else None),
    )


def published_defaults(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags, with the published steps, chunk length and learning rate for those that were not given."""
    published = {"max_length": PUBLISHED_LENGTH, "learning_rate": PUBLISHED_LEARNING_RATE}
    filled = {name: value for name, value in published.items() if flags[name] is None}
    return {**flags, **filled, "max_steps": PUBLISHED_STEPS if flags["max_steps"] == -1 else flags["max_steps"]}


def training_of(flags: Mapping[str, Any]) -> TrainingRequest:
    """Return the training arguments among the flags, with the DeepSpeed file's path in place of its name."""
    training = TrainingRequest.of_flags(DistillationArguments, flags)
    return training.having(deepspeed=str(find_config(training["deepspeed"]))) if training["deepspeed"] else training
