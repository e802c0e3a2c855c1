"""Checks of the training flags that both phases share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from bistil_ds.distributed.config import check_deepspeed
from bistil_ds.distributed.parser import check_parsed
from bistil_ds.errors import InputError
from bistil_ds.runs.seals import Seals
from bistil_ds.training.flags.choices import check_choices
from bistil_ds.training.flags.inherited import check_effects
from bistil_ds.training.flags.trial import idle_flag, try_arguments, unplaced
from bistil_ds.training.kernels.flag import chosen_kernels, kernels_field
from bistil_ds.training.request import TrainingRequest

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
    "language_temperature",
)
AT_LEAST_2 = ("held_out",)
ABOVE_0 = (
    *("learning_rate", "temperature", "similarity_temperature"),
    *("logging_steps", "eval_steps", "save_steps", "num_train_epochs"),
)
AT_LEAST_0 = ("weight_decay", "max_grad_norm", "warmup_steps", "eval_delay", "adam_epsilon", "dataloader_num_workers")
IDLE = "has no effect with this --optim and --lr_scheduler_type; leave it out"
SEEDS = ("seed", "data_seed")  # numpy takes seeds from 0 to 2**32 - 1 only


@dataclass
class SealedArguments(TrainingArguments):
    """`transformers.TrainingArguments`, with flags of ours that both phases share.

    They say which checkpoints a run may open, whether Triton kernels or plain PyTorch serve it on a GPU, and how long
    its ranks wait for one that hangs.
    """

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
    kernels: str | None = kernels_field()
    rank_timeout: float | None = field(
        default=None,
        metadata={"help": "End the run when a rank hangs for so many seconds; default: 120, with a GPU 600."},
    )
    disable_tqdm: bool | None = field(  # by default, transformers asks the log level, which any library may have set
        default=False, metadata={"help": "Print what is logged instead of a progress bar."}
    )


def seals_of(training: Any) -> Seals:
    """Return the settings with which a run seals its folders, from its training arguments or its training request.

    If these lack `seal_key` and `trust_checkpoint`, the user's own key is used, and only its signature is trusted.
    """
    flags = training.values if isinstance(training, TrainingRequest) else vars(training)
    return Seals(flags.get("seal_key"), flags.get("trust_checkpoint", False))


def check_training_arguments(
    training: TrainingRequest, no_effect: Mapping[str, str], stages: Sequence[Mapping[str, Any]] = ({},)
) -> None:
    """Raise InputError for values that transformers, torch, DeepSpeed or a tracker would refuse during the run.

    Args:
        training: the request.
        no_effect: flag → why it has no effect in this command; `flags/inherited.py` lists more such flags.
        stages: for each stage that the run trains, the arguments that differ from the request's.
    """
    check_effects(training.kind, training.values, no_effect)
    if training["fp16"] and not torch.cuda.is_available():
        raise InputError("--fp16: needs a GPU; leave it out, or use --bf16")
    on_gpu = torch.cuda.is_available() and not training.values.get("use_cpu")
    chosen_kernels(training.values.get("kernels"), on_gpu=on_gpu)  # `kind` may be transformers' own
    if training["deepspeed"]:
        check_deepspeed(training.values)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings come again when the run starts
            for changes in stages:
                args = unplaced(training, **changes)
                check_choices(args)
                optimizer = try_arguments(args)
                resumes = training["resume_from_checkpoint"]  # version 0.1 let runs begin with such a flag
                if not resumes and (name := idle_flag(training, changes)):
                    raise InputError(f"--{name} {training[name]}: {IDLE}")
                if training["deepspeed"]:
                    check_parsed(training["deepspeed"], args, optimizer)
    except InputError:
        raise
    except Exception as error:  # libraries refuse arguments with errors of many types
        raise InputError(f"the flags do not go together: {error or type(error).__name__}") from None


def check_numbers(flags: Mapping[str, Any]) -> None:
    """Raise InputError, naming the flag, for a number that is not finite or outside its range (see the lists above)."""
    for names, least, expected in (
        (AT_LEAST_1, 1, "at least 1"),
        (AT_LEAST_2, 2, "at least 2"),
        (AT_LEAST_0, 0, "a number of at least 0"),
    ):
        for name in names:
            if (value := flags.get(name)) is not None and not least <= value < float("inf"):
                raise InputError(f"--{name} {value}: expected {expected}")
    for name in ABOVE_0:
        if (value := flags.get(name)) is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} {value}: expected a number above 0")
    for name in SEEDS:
        if (value := flags.get(name)) is not None and not 0 <= value < 2**32:
            raise InputError(f"--{name} {value}: expected a whole number from 0 to {2**32 - 1}")
