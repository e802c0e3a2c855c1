"""A `transformers.Trainer` that seals its checkpoints and opens only sealed ones."""

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

from bistil_ds.distributed.config import load_universal
from bistil_ds.distributed.gathering import link_masters
from bistil_ds.distributed.startup import wait_for_every_rank
from bistil_ds.errors import InputError, Preempted
from bistil_ds.runs import checkpoints
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.deltas import WriteDeltas, attached_to
from bistil_ds.training.preemption import Preemption, close_displays


class SealedTrainer(Trainer):
    """`transformers.Trainer` with sealed checkpoints (`bistil_ds.runs.checkpoints`) and sparse deltas.

    It opens sealed checkpoints only, resumes on any number of ranks, and pickles no arguments. Where the model has
    sparse deltas (`bistil_ds.sparse`), the trainer writes them into the weights after each step and saves the model as
    an SFT: a checkpoint then holds what trains, not the base.

    Args:
        keep_files: files copied beside every saved model.
        args, kwargs: the arguments of `transformers.Trainer`.
    """

    model_wrapped: Any  # the model, or the engine around it

    def __init__(self, *args: Any, keep_files: Sequence[Path] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keep_files = list(keep_files)
        self.deltas = attached_to(self.model)
        if self.deltas is not None:
            self.add_callback(WriteDeltas(self.deltas))
        self.add_callback(Preemption())

    def on_saved(self) -> None:
        """Do nothing; a subclass may override this hook, which every rank calls once a checkpoint is written."""

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `Trainer.train` does, but resume only from a whole checkpoint of this run.

        Args:
            resume_from_checkpoint: True, "true" or "last" for the newest whole checkpoint, or a checkpoint's folder.

        Raises:
            InputError: the folder is not one of this run's checkpoints, or not whole.
            Preempted: inside `preemption.save_first`, a signal asked to stop, and a checkpoint was saved.
        """
        if resume_from_checkpoint:
            folder = Path(str(self.args.output_dir))
            found = checkpoints.find_checkpoint(folder, str(resume_from_checkpoint))
            resume_from_checkpoint = str(found) if found else None
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        except Preempted:
            close_displays(self)
            raise

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
        if state_dict:  # DeepSpeed gathers a tied weight under each of its names, and each would be written
            second_names = getattr(self.model, "all_tied_weights_keys", None) or {}
            state_dict = {name: tensor for name, tensor in state_dict.items() if name not in second_names}
            # at ZeRO-3, loading leaves the renamings of old checkpoints on the model, and saving would undo them
            self.model._weight_conversions = []
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.args.output_dir)
        if self.args.should_save:
            (folder / "training_args.bin").unlink(missing_ok=True)  # run.json holds the arguments, in no pickle
            self._copy_kept_files(folder)

    def _copy_kept_files(self, folder: Path) -> None:
        for path in self.keep_files:
            shutil.copy2(path, folder / path.name)

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint or "")
        if reason := checkpoints.broken(best):
            raise InputError(f"the best model cannot be loaded: {reason}")
        if self.is_deepspeed_enabled:  # another number of ranks may have written it
            other = checkpoints.world_size_of(best) != self.args.world_size
            if other and self.args.should_save:
                checkpoints.to_universal(best)
            self._barrier()
            load_universal(self.model_wrapped, other)
        elif self.deltas is not None:
            self.deltas.load(SparseFineTuning.load(best))
            return
        super()._load_best_model()
        if self.deltas is not None:
            self.deltas.write()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        names = dict(self.model.named_parameters(remove_duplicate=False))
        count = Counter(map(id, names.values()))
        tied = {name for name, parameter in names.items() if count[id(parameter)] > 1}  # saved under one name only
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save and folder.exists():  # a killed run left it half-written
            shutil.rmtree(folder)
        self._barrier()
        keep, self.args.save_total_limit = self.args.save_total_limit, None  # prune below, once this one is whole
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
    """Give each optimizer state a step counter of its own.

    When DeepSpeed loads a universal checkpoint at ZeRO-3, all groups share one tensor, and AdamW would then count it up
    once for each group.
    """
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    for state in optimizer.state.values():
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].clone()
