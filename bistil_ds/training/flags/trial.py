"""Make a run's optimizer and schedule on a toy model, so that bad arguments fail before anything is built."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainingArguments

from bistil_ds.distributed import startup
from bistil_ds.training.flags.idle import default_of
from bistil_ds.training.request import TrainingRequest
from bistil_ds.training.trackers import check_trackers

ANY_STEPS = 100  # length of a run whose length is not known yet
# Flags that have an effect with some optimizers and schedules only.
CONDITIONAL = {"optim_args", "optim_target_modules", "weight_decay", "lr_scheduler_kwargs", "warmup_steps"}
CONDITIONAL |= {"adam_beta1", "adam_beta2", "adam_epsilon"}


def unplaced(training: TrainingRequest, **values: Any) -> Any:
    """Return a request's training arguments without a device: to choose a device, they would join the other ranks."""
    parts = {"device": torch.device("cpu"), "distributed_state": None, "world_size": startup.world_size()}
    kind: Any = type("Unplaced", (training.kind,), parts)
    return kind(**{**training.values, "deepspeed": None, **values})


class TrialTrainer(Trainer):
    """A `Trainer` reduced to what its arguments decide: checks, optimizer and schedule.

    It does not choose a device or join other ranks, so it can be made before the run starts.
    """

    def __init__(self, args: TrainingArguments, model: Any) -> None:
        self.args, self.model = args, model
        self.optimizer = self.lr_scheduler = self.optimizer_cls_and_kwargs = None
        self.model_init = self.train_dataset = self.compute_metrics = None
        self.eval_dataset: Any = {}
        self.data_collator = list
        self.is_fsdp_enabled = self.is_fsdp_xla_enabled = False


def try_arguments(args: TrainingArguments) -> torch.optim.Optimizer:
    """Make the trackers, loader, optimizer and schedule of a run, take one step, and return the optimizer.

    The state of torch's random numbers does not change.

    Args:
        args: training arguments without a device (see `unplaced`); their DeepSpeed file is checked elsewhere.

    Raises:
        Exception: transformers, torch, or a library that an argument names, refuses the arguments.
    """
    check_trackers(args.report_to)
    args.get_process_log_level()
    workers = args.dataloader_num_workers
    DataLoader(
        TensorDataset(torch.zeros(1)),
        num_workers=workers,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        multiprocessing_context=args.dataloader_multiprocessing_context if workers else None,
    )
    if args.torch_compile:  # refuses unknown names; nothing is compiled before the model runs
        torch.compile(torch.nn.Identity(), backend=str(args.torch_compile_backend), mode=args.torch_compile_mode)
    with torch.random.fork_rng(devices=[]):
        optimizer, scheduler = _make(args, args.max_steps if args.max_steps > 0 else ANY_STEPS)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        _advance(scheduler)
    return optimizer


def idle_flag(training: TrainingRequest, stage: Mapping[str, Any]) -> str | None:
    """Return a flag of `CONDITIONAL` that the request sets without effect on optimizer and learning rates, or None.

    Args:
        training: the request, which `try_arguments` has accepted.
        stage: the training arguments of the stage that differ from the request's.
    """
    with torch.random.fork_rng(devices=[]):
        as_given = _outline(unplaced(training, **stage))
        for one in fields(training.kind):
            if one.name not in CONDITIONAL or training[one.name] in (None, default_of(one)):
                continue
            try:
                without = _outline(unplaced(training, **{**stage, one.name: default_of(one)}))
            except (ValueError, TypeError):  # other flags need this one
                continue
            if without == as_given:
                return one.name
    return None


def _outline(args: TrainingArguments) -> tuple[Any, ...]:
    """Return the optimizer's kind and settings, and the learning rates of `ANY_STEPS` steps."""
    optimizer, scheduler = _make(args, ANY_STEPS)
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    outline = type(optimizer).__name__, repr(settings)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch expects the optimizer to step as well
        for _ in range(ANY_STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            _advance(scheduler)
    return *outline, rates


def _make(args: TrainingArguments, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    trainer = TrialTrainer(args, toy_model())
    trainer._validate_args()
    trainer.create_optimizer_and_scheduler(steps)
    assert trainer.optimizer is not None
    return trainer.optimizer, trainer.lr_scheduler


def _advance(scheduler: Any) -> None:
    follows_metric = "metrics" in inspect.signature(scheduler.step).parameters
    scheduler.step(**({"metrics": 1.0} if follows_metric else {}))


def toy_model() -> BertForMaskedLM:
    """Return a BERT of one layer and width 4."""
    sizes = {"hidden_size": 4, "intermediate_size": 4, "vocab_size": 4, "max_position_embeddings": 4}
    return BertForMaskedLM(BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=1))
