"""Tables of the flags inherited from `transformers.TrainingArguments`: what each of them does here.

Every flag is in exactly one of three tables, each of which maps a reason to flags. A flag of `NO_EFFECT` is refused,
and the message gives the reason. A flag of `DECIDES` influences the trained weights, so a resumed run must keep its
first value. A flag of `MAY_CHANGE` may have another value when a run is resumed; then the new value is used. A flag
that a newer transformers adds is in no table: it is refused until a developer adds it to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments

from bistil_ds.training.flags.idle import refuse_idle

NO_EFFECT = {
    "batches, losses and validation are those of the command": (
        *("auto_find_batch_size", "average_tokens_across_devices", "batch_eval_metrics", "eval_accumulation_steps"),
        *("eval_do_concat_batches", "eval_use_gather_object", "include_for_metrics", "label_names"),
        *("label_smoothing_factor", "length_column_name", "prediction_loss_only", "remove_unused_columns"),
    ),
    "a loss that is not finite always ends the run": ("debug", "logging_nan_inf_filter"),
    "validation is in the precision of training": ("bf16_full_eval", "fp16_full_eval"),
    "the losses have fused kernels of their own": ("liger_kernel_config", "use_liger_kernel"),
    "an encoder has no cache of keys and values": ("use_cache",),
    "ranks are joined by DeepSpeed or by DDP; leave it out, or give --deepspeed": (
        *("accelerator_config", "ddp_backend", "ddp_timeout", "fsdp", "fsdp_config", "parallelism_config"),
    ),
    "a resumed run goes on exactly where its checkpoint was written": (
        *("ignore_data_skip", "restore_callback_states_from_checkpoint", "save_only_model"),
    ),
    "SIGTERM and SIGUSR1 save a checkpoint without it": ("enable_jit_checkpoint",),
    "nothing is uploaded; write a folder with export.py, and upload that": (
        *("hub_always_push", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_token"),
        *("project", "push_to_hub", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id"),
    ),
    "the command trains, and validates as --eval_strategy says": ("do_eval", "do_predict", "do_train"),
}

DECIDES = {
    "the length of the run": ("max_steps", "num_train_epochs"),
    "the order of the data": ("data_seed", "dataloader_drop_last", "seed", "train_sampling_strategy"),
    "the update, whose state the optimizer keeps": (
        *("adam_beta1", "adam_beta2", "adam_epsilon", "learning_rate", "max_grad_norm", "optim", "optim_args"),
        *("optim_target_modules", "weight_decay"),
    ),
    "the schedule, which is planned over the whole run": (
        *("lr_scheduler_kwargs", "lr_scheduler_type", "warmup_steps"),
    ),
    "the loss": ("neftune_noise_alpha",),
    "the precision": ("bf16", "fp16", "tf32"),
    "which checkpoint is the best, as the earlier ones were compared": ("greater_is_better", "metric_for_best_model"),
}

MAY_CHANGE = {
    "where the run is, and where it goes on": ("local_rank", "output_dir", "resume_from_checkpoint"),
    "how a step is divided; another number of ranks may need it, and `StepSize` is compared": (
        *("gradient_accumulation_steps", "per_device_train_batch_size"),
    ),
    "how it is computed": (
        *("activation_checkpointing", "activation_checkpointing_kwargs", "ddp_broadcast_buffers", "ddp_bucket_cap_mb"),
        *("ddp_find_unused_parameters", "ddp_static_graph", "deepspeed", "full_determinism", "gradient_checkpointing"),
        *("gradient_checkpointing_kwargs", "per_device_eval_batch_size", "torch_compile", "torch_compile_backend"),
        *("torch_compile_mode", "torch_empty_cache_steps", "use_cpu"),
    ),
    "how batches reach the device": (
        *("dataloader_in_order", "dataloader_multiprocessing_context", "dataloader_num_workers"),
        *("dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_prefetch_factor"),
    ),
    "what is shown": (
        *("disable_tqdm", "include_num_input_tokens_seen", "log_level", "log_level_replica", "log_on_each_node"),
        *("logging_first_step", "logging_steps", "logging_strategy", "report_to", "run_name", "skip_memory_metrics"),
    ),
    "when the run validates and saves": (
        *("eval_delay", "eval_on_start", "eval_steps", "eval_strategy", "load_best_model_at_end"),
        *("save_on_each_node", "save_steps", "save_strategy", "save_total_limit"),
    ),
}


def by_name(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return flag → reason for one of the tables."""
    return {name: reason for reason, names in table.items() for name in names}


def unknown_fields() -> list[str]:
    """Return the fields of the installed `TrainingArguments` that none of the tables has."""
    known = {name for table in (NO_EFFECT, DECIDES, MAY_CHANGE) for name in by_name(table)}
    return [one.name for one in fields(TrainingArguments) if one.init and one.name not in known]


def check_effects(kind: type[TrainingArguments], flags: Mapping[str, Any], more: Mapping[str, str]) -> None:
    """Raise InputError if a flag that has no effect is set to a value other than its default; the message says why.

    Args:
        kind: the dataclass of the command's training arguments, which has the defaults.
        flags: values by name.
        more: flag → reason, for further flags that have no effect in this command.
    """
    idle = {**by_name(NO_EFFECT), **more}
    idle |= dict.fromkeys(unknown_fields(), "is new in this version of transformers and not known here")
    refuse_idle([kind], flags, idle)
