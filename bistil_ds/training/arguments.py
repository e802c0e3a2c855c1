"""Checks of training flags, for both phases."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import torch
from transformers import TrainingArguments

from bistil_ds.errors import InputError
from bistil_ds.training.trackers import check_trackers

AT_LEAST_1 = (
    "max_length",
    "max_steps",
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


def check_training_arguments(ns: argparse.Namespace, kind: type[TrainingArguments]) -> None:
    """Raise InputError for flags that `kind` refuses, before anything is built."""
    if ns.fp16 and not torch.cuda.is_available():
        raise InputError("--fp16: needs a GPU; leave it out, or use --bf16")
    # to look for a device, the arguments would join the other ranks, which are not there yet
    unplaced: Any = type("Unplaced", (kind,), {"device": torch.device("cpu")})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings come again when the run starts
            args = unplaced(**{**as_fields(ns, kind), "deepspeed": None})
            check_trackers(args.report_to)
    except (ValueError, OSError, ImportError) as error:
        raise InputError(f"the flags do not go together: {error}") from None


def as_fields(ns: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Return the namespace's values for the fields that a dataclass's constructor takes, by name."""
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: value for name, value in vars(ns).items() if name in fields and fields[name].init}
