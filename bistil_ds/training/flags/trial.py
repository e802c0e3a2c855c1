"""Make on a toy model what a trainer will make of its arguments, so that what fails fails before anything is built."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainingArguments

from bistil_ds.distributed import startup
from bistil_ds.training.request import TrainingRequest
from bistil_ds.training.trackers import check_trackers

ANY_STEPS = 100  # length of a run whose length is not known yet


def unplaced(training: TrainingRequest, **values: Any) -> Any:
    """Return the training arguments of a request without a device: to choose one, they would join the other ranks."""
    parts = {"device": torch.device("cpu"), "distributed_state": None, "world_size": startup.world_size()}
    kind: Any = type("Unplaced", (training.kind,), parts)
    return kind(**{**training.values, "deepspeed": None, **values})


class TrialTrainer(Trainer):
    """The part of a trainer that follows from its arguments: its checks, its optimizer and its schedule.

    It joins no other ranks and takes no device, so it can be made before the run starts.
    """

    def __init__(self, args: TrainingArguments, model: Any) -> None:
        self.args, self.model = args, model
        self.optimizer = self.lr_scheduler = self.optimizer_cls_and_kwargs = None
        self.model_init = self.train_dataset = self.compute_metrics = None
        self.eval_dataset, self.data_collator = {}, list
        self.is_fsdp_enabled = self.is_fsdp_xla_enabled = False


def try_arguments(args: TrainingArguments) -> torch.optim.Optimizer:
    """Make what a run with these arguments begins with, take one step, and return the optimizer.

    The generator of random numbers is left as it was.

    Args:
        args: made for no device; their DeepSpeed file is checked elsewhere.

    Raises:
        Exception: whatever transformers, torch or a library that an argument asks for raises about them.
    """
    check_trackers(args.report_to)
    args.get_process_log_level()
    workers = args.dataloader_num_workers
    DataLoader(
        [0],
        num_workers=workers,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        multiprocessing_context=args.dataloader_multiprocessing_context if workers else None,
    )
    with torch.random.fork_rng(devices=[]):
        model = toy_model()
        trainer = TrialTrainer(args, model)
        trainer._validate_args()
        trainer.create_optimizer_and_scheduler(args.max_steps if args.max_steps > 0 else ANY_STEPS)
        optimizer, scheduler = trainer.optimizer, trainer.lr_scheduler
        assert optimizer is not None
        assert scheduler is not None
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        if callable(getattr(optimizer, "train", None)):
            optimizer.train()
        optimizer.step()
        follows_metric = "metrics" in inspect.signature(scheduler.step).parameters
        scheduler.step(**({"metrics": 1.0} if follows_metric else {}))
    return optimizer


def toy_model() -> BertForMaskedLM:
    """Return a BERT of one layer and width 4."""
    sizes = {"hidden_size": 4, "intermediate_size": 4, "vocab_size": 4, "max_position_embeddings": 4}
    return BertForMaskedLM(BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=1))
