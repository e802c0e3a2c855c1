"""Test that every choice of every flag is tried before a run: it works, or one line says why not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.errors import InputError
from bistil_ds.training.arguments import check_numbers, check_training_arguments
from bistil_ds.training.request import TrainingRequest, with_defaults
from bistil_ds.tuning.arguments import TaskTrainingArguments
from bistil_ds.tuning.stage import UNVALIDATED

CHOICES: dict[str, list[Any]] = {
    "optim": [one.value for one in OptimizerNames],
    "lr_scheduler_type": [one.value for one in SchedulerType],
    "save_strategy": [one.value for one in SaveStrategy],
    "eval_strategy": [one.value for one in IntervalStrategy],
    "logging_strategy": [one.value for one in IntervalStrategy],
    "report_to": list(INTEGRATION_TO_CALLBACK),
    "dataloader_num_workers": [0, 1],
    "dataloader_multiprocessing_context": ["fork", "spawn", "forkserver"],
    "log_level": ["debug", "passive"],
}
WORK_ANYWHERE = {
    "optim": {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"},
    "lr_scheduler_type": {"linear", "cosine", "polynomial", "constant", "reduce_lr_on_plateau", "greedy"},
    "save_strategy": {"steps"},
    "eval_strategy": {"steps"},
    "logging_strategy": {"no", "steps", "epoch"},
    "report_to": {"tensorboard"},
    "dataloader_num_workers": {0, 1},
    "dataloader_multiprocessing_context": {"fork", "spawn", "forkserver"},
    "log_level": {"debug", "passive"},
}


def tried(kind: type[TrainingArguments] = DistillationArguments, stages: Any = ({},), **flags: Any) -> str:
    """Check flags as a command does; return the message of the one error that a user may see, or nothing."""
    given = with_defaults([kind], {"output_dir": "nowhere", "report_to": "none", "learning_rate": 1e-4, **flags})
    try:
        check_numbers(given)
        check_training_arguments(TrainingRequest(kind, given), {}, stages)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHOICES.items() for value in values])
def test_a_choice_works_or_is_refused_in_words(name: str, value: Any, capfd: pytest.CaptureFixture[str]) -> None:
    message = tried(**{name: value})
    if value in WORK_ANYWHERE[name]:
        assert message == ""
    elif message:
        assert len(message.split()) > 4
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"optim_args": "momentum"}, "the flags do not go together"),
        ({"optim": "no_such"}, "no_such"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "min_lr"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "num_decay_steps"),
        ({"lr_scheduler_kwargs": '{"no_such": 1}'}, "no_such"),
        ({"lr_scheduler_kwargs": '{"num_cycles": '}, "the flags do not go together"),
        ({"dataloader_persistent_workers": True}, "num_workers > 0"),
        ({"dataloader_prefetch_factor": 2}, "--dataloader_prefetch_factor"),
        ({"adam_beta1": 1.5}, "beta"),
        ({"optim": "sgd", "adam_beta1": 0.8}, "--adam_beta1 0.8: has no effect with this --optim"),
        ({"optim_target_modules": "all-linear"}, "--optim_target_modules"),
        ({"lr_scheduler_type": "constant", "warmup_steps": 5}, "--warmup_steps 5: has no effect with this --optim"),
        ({"lr_scheduler_type": "constant", "lr_scheduler_kwargs": '{"num_cycles": 1}'}, "--lr_scheduler_kwargs"),
        ({"save_strategy": "best", "load_best_model_at_end": False}, "metric_for_best_model"),
        ({"eval_strategy": "no"}, "--load_best_model_at_end"),
        ({"eval_steps": 25, "save_steps": 50}, "--save_steps 50: the best validation may have no checkpoint"),
        ({"eval_steps": 0.1, "save_steps": 0.2}, "give --save_steps 0.1, or --save_strategy best"),
        ({"optim": "schedule_free_radam"}, "--optim schedule_free_radam: "),
        ({"seed": -1}, "--seed -1: expected a whole number from 0 to 4294967295"),
        ({"data_seed": 2**32}, "--data_seed 4294967296"),
        ({"weight_decay": float("nan")}, "--weight_decay nan: expected a number of at least 0"),
        ({"max_grad_norm": -1.0}, "--max_grad_norm -1.0"),
        ({"warmup_steps": -1}, "--warmup_steps -1"),
        ({"num_train_epochs": 0.0}, "--num_train_epochs 0.0: expected a number above 0"),
        ({"learning_rate": float("inf")}, "--learning_rate inf"),
        ({"push_to_hub": True}, "--push_to_hub True: has no effect: nothing is uploaded"),
        ({"fsdp": "full_shard"}, "has no effect: ranks are joined by DeepSpeed or by DDP"),
        ({"torch_compile_backend": "no_such"}, "no_such"),
        ({"torch_compile_mode": "no_such"}, "no_such"),
        ({"use_liger_kernel": True}, "--use_liger_kernel True: has no effect: the losses have fused kernels"),
        ({"deepspeed": "zero2", "optim": "lomo"}, "lomo"),
    ],
)
def test_what_would_fail_later_is_refused(flags: dict[str, Any], message: str) -> None:
    assert message in tried(**flags)


@pytest.mark.parametrize(
    "flags",
    [
        {"adam_beta1": 0.8, "adam_beta2": 0.9, "adam_epsilon": 1e-6, "weight_decay": 0.1, "warmup_steps": 5},
        {"warmup_steps": 0.1, "optim": "sgd", "optim_args": "momentum=0.9"},
        {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": '{"num_cycles": 2}'},
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": '{"min_lr": 1e-6}'},
        {"torch_compile": True},
        {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": '{"patience": 3}'},
        {"eval_steps": 25, "save_steps": 50, "load_best_model_at_end": False},
        {"eval_steps": 25, "save_steps": 50, "save_strategy": "best"},
    ],
)
def test_flags_that_change_the_update_or_the_schedule_pass(flags: dict[str, Any]) -> None:
    assert tried(**flags) == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"train_sampling_strategy": "batch_rebalance"}, "--train_sampling_strategy batch_rebalance: "),
        ({"eval_strategy": "steps", "save_strategy": "steps"}, "--save_steps 500: .* give --save_steps 50, "),
    ],
)
def test_what_would_fail_later_in_tuning_is_refused(flags: dict[str, Any], message: str) -> None:
    assert re.match(message, tried(TaskTrainingArguments, metric_for_best_model="eval_f1", **flags))


def test_fp16_needs_a_gpu() -> None:
    assert ("--fp16: needs a GPU" in tried(fp16=True)) == (not torch.cuda.is_available())


def test_each_stage_is_tried_with_its_own_values() -> None:
    flags = {"lr_scheduler_type": "reduce_lr_on_plateau", "metric_for_best_model": "eval_f1"}
    assert tried(TaskTrainingArguments, **flags) == ""
    assert "requires an eval strategy" in tried(TaskTrainingArguments, ({}, UNVALIDATED), **flags)


def test_a_trial_draws_no_random_number_and_changes_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.random.get_rng_state()
    assert tried(deepspeed="zero3", bf16=True) == ""
    assert torch.equal(torch.random.get_rng_state(), before)
    from transformers.integrations import is_deepspeed_zero3_enabled

    assert not is_deepspeed_zero3_enabled()  # a model that is loaded now is whole
