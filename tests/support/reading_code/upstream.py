"""Tables of the names that our code takes from other libraries, which do not promise to keep them.

`tests/test_upstream.py` tests that the tables list all such names in our code, and that the libraries still have them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Upstream class → method that we override → its parameters upstream. "=…" is a default that is not a plain value; after
# a final "…" more parameters may follow.
CALLBACK = "self, args, state, control, **kwargs"
OVERRIDDEN: dict[str, dict[str, str]] = {
    "argparse HelpFormatter": {
        "_format_action_invocation": "self, action",
        "_get_help_string": "self, action",
    },
    "torch Dataset": {"__getitem__": "self, index"},
    "torch Embedding": {"forward": "self, input"},
    "torch Function": {"backward": "ctx, *grad_outputs", "forward": "*args, **kwargs"},
    "torch Linear": {"forward": "self, input"},
    "torch Module": {"forward": "self, *input"},
    "torch Optimizer": {
        "add_param_group": "self, param_group",
        "step": "self, closure=None",
        "zero_grad": "self, set_to_none=True",
    },
    "torch Sampler": {"__iter__": "self"},
    "torch TorchDispatchMode": {"__torch_dispatch__": "self, func, types, args=…, kwargs=None"},
    "transformers HfArgumentParser": {"error": "self, message"},
    "transformers LengthGroupedSampler": {"__iter__": "self"},
    "transformers MLflowCallback": {
        "on_log": "self, args, state, control, logs, model=None, **kwargs",
        "on_train_end": CALLBACK,
        "setup": "self, args, state, model",
    },
    "transformers PreTrainedModel": {
        "_init_weights": "self, module",
        "forward": "self, *input",
        "from_pretrained": "pretrained_model_name_or_path, *model_args, config=None, …",
    },
    "transformers ProgressCallback": {
        "on_evaluate": CALLBACK,
        "on_log": "self, args, state, control, logs=None, **kwargs",
        "on_predict": CALLBACK,
        "on_prediction_step": "self, args, state, control, eval_dataloader=None, **kwargs",
        "on_train_begin": CALLBACK,
    },
    "transformers TensorBoardCallback": {"on_train_begin": CALLBACK},
    "transformers Trainer": {
        "_clip_grad_norm": "self, model",
        "_evaluate": "self, trial, ignore_keys_for_eval, skip_scheduler=False",
        "_get_grad_norm": "self, model, grad_norm=None",
        "_get_train_sampler": "self, train_dataset=None",
        "_init_training_state": (
            "self, max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial"
        ),
        "_issue_warnings_after_load": "self, load_result",
        "_load_best_model": "self",
        "_load_from_checkpoint": "self, resume_from_checkpoint, model=None",
        "_load_optimizer_and_scheduler": "self, checkpoint",
        "_maybe_log_save_evaluate": (
            "self, tr_loss, grad_norm, model, trial, epoch, ignore_keys_for_eval, start_time, learning_rate=None"
        ),
        "_prepare_for_training": "self, max_steps, train_dataloader, resume_from_checkpoint",
        "_save": "self, output_dir=None, state_dict=None",
        "_save_checkpoint": "self, model, trial",
        "_save_optimizer_and_scheduler": "self, output_dir",
        "compute_loss": "self, model, inputs, return_outputs=False, num_items_in_batch=None",
        "evaluate": "self, eval_dataset=None, ignore_keys=None, metric_key_prefix='eval'",
        "floating_point_ops": "self, inputs",
        "get_train_dataloader": "self",
        "log": "self, logs, start_time=None",
        "save_model": "self, output_dir=None, _internal_call=False",
        "training_step": "self, model, inputs, num_items_in_batch=None",
        "train": "self, resume_from_checkpoint=None, trial=None, ignore_keys_for_eval=None",
    },
    "transformers TrainerCallback": {
        "on_epoch_end": CALLBACK,
        "on_optimizer_step": CALLBACK,
        "on_save": CALLBACK,
        "on_step_end": CALLBACK,
        "on_train_begin": CALLBACK,
        "on_train_end": CALLBACK,
    },
    "transformers TrainingArguments": {"__post_init__": "self"},
    "transformers WandbCallback": {"setup": "self, args, state, model, **kwargs"},
}

# Methods of our subclasses that override nothing, so that only we call them.
OWN_METHODS: dict[str, set[str]] = {
    "torch Dataset": {"__getitems__"},  # torch calls it, too: see PRIVATE
    "torch Optimizer": {"_launch", "_update"},
    "torch Sampler": {"_shuffle", "language_of", "rows_of"},
    "torch TorchDispatchMode": {"_drop", "add", "total"},
    "transformers MLflowCallback": {"_choose_store"},
    "transformers Trainer": {
        *("_after", "_barrier", "_check_gradients", "_collate", "_copy_kept_files", "_count", "_loader"),
        *("_make_static_step", "_masked", "_mean_loss", "_micro_steps", "_progress", "_prune", "_reading"),
        *("_row_terms", "_spoil_gradients", "_switch_to", "_where", "after_loss", "batch_loss", "batches"),
        *("before_loss", "check_state"),
        *(
            "check_validation",
            "drain_skips",
            "during_training",
            "kernel_choice",
            "log_name",
            "log_validation",
            "on_saved",
            "record",
        ),
        *("restart_speed", "step_size", "terms", "write_model"),
    },
    "transformers TensorBoardCallback": {"_earlier_log"},
    "transformers TrainerCallback": {"_stop"},
    "transformers WandbCallback": {"_begin"},
}


@dataclass(frozen=True)
class At:
    """A name that can be looked up, written as `module:attribute.attribute`."""

    path: str

    @property
    def module(self) -> str:
        return self.path.partition(":")[0]

    def is_there(self, name: str) -> bool:
        found: Any = import_module(self.module)
        for part in filter(None, self.path.partition(":")[2].split(".")):
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True

    def __str__(self) -> str:
        return self.path.replace(":", ".")


@dataclass(frozen=True)
class SetIn:
    """An attribute that some line of the upstream module assigns on objects."""

    module: str

    def is_there(self, name: str) -> bool:
        return name in assigned_in(self.module)

    def __str__(self) -> str:
        return f"the assignment of it in {self.module}"


@dataclass(frozen=True)
class ReadIn:
    """A name that the library looks for on objects of ours; some line of the upstream module mentions it."""

    module: str

    def is_there(self, name: str) -> bool:
        return re.search(rf"\b{name}\b", source_of(self.module)) is not None

    def __str__(self) -> str:
        return f"the look for it in {self.module}"


@cache
def source_of(module: str) -> str:
    found = find_spec(module)
    return Path(str(found.origin)).read_text(encoding="utf-8") if found else ""


@cache
def assigned_in(module: str) -> set[str]:
    """Return the attributes that a module's code assigns, by a dot or as a field of a class."""
    found = set()
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


PARTITIONS = SetIn("deepspeed.runtime.zero.partition_parameters")

PRIVATE: dict[str, At | SetIn | ReadIn] = {
    "__cause__": At("builtins:BaseException.__cause__"),
    "__compatible_ops__": At("deepspeed.ops:__compatible_ops__"),
    "__context__": At("builtins:BaseException.__context__"),
    "__getitems__": ReadIn("torch.utils.data._utils.fetch"),
    "__suppress_context__": At("builtins:BaseException.__suppress_context__"),
    "_ArgumentGroup": At("argparse:_ArgumentGroup"),
    "_C": At("torch:_C"),
    "_actions": SetIn("argparse"),
    "_allgather_base_": At("torch:ops.c10d._allgather_base_"),
    "_attn_implementation": At("transformers:PreTrainedConfig._attn_implementation"),
    "_SummaryWriter": SetIn("transformers.integrations.integration_utils"),
    "_autograd": At("torch:_C._autograd"),
    "_can_set_attn_implementation": At("transformers:PreTrainedModel._can_set_attn_implementation"),
    "_cdata": At("torch:UntypedStorage._cdata"),
    "_config": SetIn("deepspeed.runtime.engine"),
    "_configure_basic_optimizer": At("deepspeed.runtime.engine:DeepSpeedEngine._configure_basic_optimizer"),
    "_exit": At("os:_exit"),
    "_fingerprint": SetIn("datasets.arrow_dataset"),
    "_global_grad_norm": SetIn("deepspeed.runtime.zero.stage3"),
    "_format_args": At("argparse:HelpFormatter._format_args"),
    "_functorch": At("torch:_C._functorch.peek_interpreter_stack"),
    "_get_current_graph_task_keep_graph": At("torch:_C._autograd._get_current_graph_task_keep_graph"),
    "_group_actions": SetIn("argparse"),
    "_hp_mapping": SetIn("deepspeed.utils.mixed_precision_linkage"),
    "_is_supported_optimizer": At("deepspeed.runtime.engine:DeepSpeedEngine._is_supported_optimizer"),
    "_len_torch_dispatch_stack": At("torch:_C._len_torch_dispatch_stack"),
    "_n_gpu": SetIn("transformers.training_args"),
    "_optionals": SetIn("argparse"),
    "_prepare_inputs": At("transformers:Trainer._prepare_inputs"),
    "_python_dispatch": At("torch.utils._python_dispatch:TorchDispatchMode"),
    "_reduce_scatter_base_": At("torch:ops.c10d._reduce_scatter_base_"),
    "_scheduler_from_config": At("deepspeed.runtime.engine:DeepSpeedEngine._scheduler_from_config"),
    "_schema": At("torch:ops.aten.add.Tensor._schema"),
    "_sleep": At("torch.cuda:_sleep"),
    "_validate_args": At("transformers:Trainer._validate_args"),
    "_weight_conversions": SetIn("transformers.core_model_loading"),
    "ds_id": PARTITIONS,
    "ds_numel": PARTITIONS,
    "ds_persist": PARTITIONS,
    "ds_process_group": PARTITIONS,
    "ds_quant_scale": PARTITIONS,
    "ds_secondary_tensor": PARTITIONS,
    "ds_shape": PARTITIONS,
    "ds_status": PARTITIONS,
    "ds_tensor": PARTITIONS,
    "ds_to_universal": At("deepspeed.checkpoint.ds_to_universal:parse_arguments"),
    "numpy._core.multiarray.scalar": At("numpy:_core.multiarray.scalar"),
}

# Private names of ours that our code reaches through something other than `self`.
OUR_PRIVATE = {"_applied_sfts", "_fp32_master", "_layer", "_sparse_deltas", "_trimming"}

# Public names whose loss would change results without an error. No search finds them: add each that you set or read.
SILENT: dict[str, At | SetIn | ReadIn] = {
    "CROSS_RANK": ReadIn("deepspeed.launcher.launch"),
    "TORCHELASTIC_RUN_ID": ReadIn("torch.distributed.elastic.agent.server.local_elastic_agent"),
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": ReadIn("torch.serialization"),
    "all_tied_weights_keys": SetIn("transformers.modeling_utils"),
    "clip_fp32_gradients": At("deepspeed.runtime.engine:DeepSpeedEngine.clip_fp32_gradients"),
    "default_pg_nccl_timeout": At("torch.distributed.distributed_c10d:default_pg_nccl_timeout"),
    "default_pg_timeout": At("torch.distributed.distributed_c10d:default_pg_timeout"),
    "fp16_groups": SetIn("deepspeed.runtime.fp16.unfused_optimizer"),
    "fp32_groups": SetIn("deepspeed.runtime.fp16.unfused_optimizer"),
    "fp32_groups_flat": SetIn("deepspeed.runtime.fp16.fused_optimizer"),
    "hf_deepspeed_config": SetIn("transformers.training_args"),
    "load_universal_checkpoint": ReadIn("deepspeed.runtime.engine"),
    "model_accepts_loss_kwargs": SetIn("transformers.trainer"),
    "raise_error_at_min_scale": SetIn("deepspeed.runtime.fp16.loss_scaler"),
}
