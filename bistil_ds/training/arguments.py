"""Checks of the training flags that both phases share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from bistil_ds.errors import InputError
from bistil_ds.runs.seals import Seals
from bistil_ds.training.request import TrainingRequest
from bistil_ds.training.trackers import check_trackers

AT_LEAST_1 = (
    "max_length",
    "max_texts",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "layer_reduction_factor",
    "hidden_reduction_factor",
    "vocab_size",
    "preprocessing_workers",
    "save_total_limit",
)


ABOVE_0 = ("learning_rate", "temperature", "logging_steps", "eval_steps", "save_steps")


@dataclass
class SealedArguments(TrainingArguments):
    """`transformers.TrainingArguments`, and whose checkpoints a run opens."""

    seal_key: str | None = field(
        default=None,
        metadata={"help": "File with the key that signs checkpoints; default: $BISTIL_SEAL_KEY, else one of your own."},
    )
    trust_checkpoint: bool = field(
        default=False,
        metadata={
            "help": "Resume though your key did not sign the run's folder. Only where you know who wrote it: a hostile "
            "one decides what you train and may try to run code."
        },
    )


def seals_of(training: Any) -> Seals:
    """Return how a run seals, from its training arguments or request; without our flags, by the user's own key."""
    flags = training.values if isinstance(training, TrainingRequest) else vars(training)
    return Seals(flags.get("seal_key"), flags.get("trust_checkpoint", False))


def check_training_arguments(training: TrainingRequest) -> None:
    """Raise InputError for values that transformers or a tracker would refuse once models have been built."""
    if training["fp16"] and not torch.cuda.is_available():
        raise InputError("--fp16: needs a GPU; leave it out, or use --bf16")
    # the arguments' own `device` would join the other ranks, which have not started yet
    unplaced: Any = type("Unplaced", (training.kind,), {"device": torch.device("cpu")})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings come again when the run starts
            args = unplaced(**{**training.values, "deepspeed": None})
            check_trackers(args.report_to)
    except (ValueError, OSError, ImportError) as error:
        raise InputError(f"the flags do not go together: {error}") from None


def check_numbers(flags: Mapping[str, Any]) -> None:
    """Raise InputError if a flag in `AT_LEAST_1` is below 1, or if a flag in `ABOVE_0` is not finite or not above 0."""
    for name in AT_LEAST_1:
        if (value := flags.get(name)) is not None and value < 1:
            raise InputError(f"--{name} {value}: expected at least 1")
    for name in ABOVE_0:
        if (value := flags.get(name)) is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} {value}: expected a number above 0")
