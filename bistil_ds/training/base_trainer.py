"""A `transformers.Trainer` whose checkpoints are sealed, and which opens only sealed ones."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DeepSpeedSchedulerWrapper
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer import SCHEDULER_NAME
from transformers.training_args import ParallelMode

from bistil_ds.distributed.gathering import link_masters
from bistil_ds.distributed.startup import wait_for_every_rank
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.deltas import WriteDeltas, attached_to


class SealedTrainer(Trainer):
    """Saves whole checkpoints (`bistil_ds.runs.checkpoints`), resumes on any number of ranks, pickles no arguments.

    A model with sparse deltas (`bistil_ds.sparse`) has its weights written after each step, and is saved as an SFT: a
    checkpoint then holds what trains, not the base.

    Args:
        keep_files: files copied beside every saved model.
    """

    model_wrapped: Any  # the model, or the engine around it

    def __init__(self, *args: Any, keep_files: Sequence[Path] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keep_files = list(keep_files)
        self.deltas = attached_to(self.model)
        if self.deltas is not None:
            self.add_callback(WriteDeltas(self.deltas))

    def on_saved(self) -> None:
        """Called on every rank when a checkpoint has been written."""

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """`Trainer.train`; it goes on from whole checkpoints of this run only, an InputError otherwise."""
        if resume_from_checkpoint:
            folder = Path(str(self.args.output_dir))
            found = checkpoints.find_checkpoint(folder, str(resume_from_checkpoint))
            resume_from_checkpoint = str(found) if found else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.deltas is None:
            super().save_model(output_dir, _internal_call)
            return
        fine_tuning = self.deltas.fine_tuning()  # every rank takes part
        if self.args.should_save:
            fine_tuning.save(output_dir or str(self.args.output_dir))
            self._copy_kept_files(Path(output_dir or str(self.args.output_dir)))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.deltas is None or not self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        self.model_wrapped.save_checkpoint(output_dir, exclude_frozen_parameters=True)
        if self.args.should_save and not isinstance(self.lr_scheduler, DeepSpeedSchedulerWrapper):
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_deepspeed_enabled:
            link_masters(self.model_wrapped.optimizer)
        return prepared

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint and self.is_deepspeed_enabled:
            _own_step_counts(self.optimizer)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.deltas is None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self.deltas.load(SparseFineTuning.load(resume_from_checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if state_dict:  # gathered by DeepSpeed, where a tied weight is there, and would be written, once for each name
            second_names = getattr(self.model, "all_tied_weights_keys", None) or {}
            state_dict = {name: tensor for name, tensor in state_dict.items() if name not in second_names}
            # at ZeRO-3 loading leaves every renaming of old checkpoints on the model, and saving would undo them all
            self.model._weight_conversions = []
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.args.output_dir)
        if self.args.should_save:
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle nobody needs: run.json has it all
            self._copy_kept_files(folder)

    def _copy_kept_files(self, folder: Path) -> None:
        for path in self.keep_files:
            shutil.copy2(path, folder / path.name)

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint or "")
        if reason := checkpoints.broken(best):
            raise InputError(f"the best model cannot be loaded: {reason}")
        if self.is_deepspeed_enabled:  # it may have been written by another number of ranks than goes on now
            other = checkpoints.world_size_of(best) != self.args.world_size
            if other and self.args.should_save:
                checkpoints.to_universal(best)
            self._barrier()
            self.model_wrapped._config.load_universal_checkpoint = other
        elif self.deltas is not None:
            self.deltas.load(SparseFineTuning.load(best))
            return
        super()._load_best_model()
        if self.deltas is not None:
            self.deltas.write()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        names = dict(self.model.named_parameters(remove_duplicate=False))
        count = Counter(map(id, names.values()))
        tied = {name for name, parameter in names.items() if count[id(parameter)] > 1}  # saved under one of its names
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save and folder.exists():  # left half-written by a killed run
            shutil.rmtree(folder)
        self._barrier()
        keep, self.args.save_total_limit = self.args.save_total_limit, None  # pruned below, once this one is whole
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = keep
        self._barrier()
        if self.args.should_save:
            checkpoints.seal(folder, self.args.world_size)
            if keep:
                checkpoints.prune(folder.parent, keep, self.state.best_model_checkpoint)
        self._barrier()
        self.on_saved()

    def _barrier(self) -> None:
        if self.args.parallel_mode == ParallelMode.DISTRIBUTED:
            wait_for_every_rank()


def _own_step_counts(optimizer: Any) -> None:
    """Give each state its own count of steps: loading a universal checkpoint at ZeRO-3, DeepSpeed gives all groups one
    tensor, which AdamW then counts up once for each group."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].clone()
