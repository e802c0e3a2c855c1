"""A `transformers.Trainer` that saves and opens sealed checkpoints, and saves sparse deltas without their base."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DeepSpeedSchedulerWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer import SCHEDULER_NAME
from transformers.training_args import ParallelMode

from bistil_ds.distributed.agreement import failing_together
from bistil_ds.distributed.config import load_universal
from bistil_ds.distributed.gathering import link_masters
from bistil_ds.distributed.startup import wait_for_every_rank
from bistil_ds.distributed.universal import mend_optimizer
from bistil_ds.models.parameters import save_under_own_names
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import read_seal
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.deltas import WriteDeltas, attached_to
from bistil_ds.training.arguments import seals_of
from bistil_ds.training.finite_trainer import FiniteTrainer
from bistil_ds.training.flags.step_size import ROWS_OF_STEP, StepSize
from bistil_ds.training.saving import resuming


class SealedTrainer(FiniteTrainer):
    """`FiniteTrainer` with sealed checkpoints (`bistil_ds.runs.checkpoints`) and sparse deltas.

    It opens sealed checkpoints only, resumes on any number of ranks, and pickles no arguments. If the model has sparse
    deltas (`bistil_ds.sparse`), the trainer writes them into the weights after each step. For such a model it saves a
    sparse fine-tuning (SFT), so that checkpoints do not hold the base model.

    Args:
        model, args: the model and the training arguments.
        keep_files: files and folders copied beside every saved model.
        kwargs: further arguments of `transformers.Trainer`.
    """

    _unwritten: Exception | None = None  # why this rank could not write the model

    def __init__(self, model: PreTrainedModel, args: Any, *, keep_files: Sequence[Path] = (), **kwargs: Any) -> None:
        super().__init__(model=model, args=args, **kwargs)
        self.keep_files = list(keep_files)
        self.deltas = attached_to(self.model)
        if self.deltas is not None:
            self.add_callback(WriteDeltas(self.deltas))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `Trainer.train` does, but resume only from a whole checkpoint of this run.

        Args:
            resume_from_checkpoint: True, "true" or "last" for the newest whole checkpoint, or a checkpoint's folder; a
                `checkpoints.Checked` is not checked again.

        Raises:
            InputError: the folder is not one of this run's checkpoints; it is not whole; the user's key did not sign
                it, and `args.trust_checkpoint` is not set; or a step would have another number of rows than before.
            NonFiniteError: see `FiniteTrainer`.
        """
        if resume_from_checkpoint and not isinstance(resume_from_checkpoint, checkpoints.Checked):
            found = resuming.find_checkpoint(self.args, str(resume_from_checkpoint))
            resume_from_checkpoint = str(found) if found else None
        if resume_from_checkpoint:
            recorded = read_seal(Path(str(resume_from_checkpoint))).get(ROWS_OF_STEP)
            self.step_size().check_kept(recorded, str(resume_from_checkpoint))
        wait_for_every_rank()  # reading the data may have taken longer on one rank than exchanges may last
        with self.during_training():
            return super().train(resume_from_checkpoint, *args, **kwargs)

    def during_training(self) -> AbstractContextManager[None]:
        """Return a context to train in; every rank calls this. It does nothing unless a subclass defines it."""
        return nullcontext()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save as `Trainer.save_model` does; every rank calls this. If one rank cannot write, every rank raises."""
        self._unwritten = None
        fine_tuning = self.deltas.fine_tuning() if self.deltas is not None else None  # every rank takes part
        if fine_tuning is None:
            super().save_model(output_dir, _internal_call)  # gathers weights, then calls `_save`
        with failing_together():
            if self._unwritten is not None:
                raise self._unwritten
            if fine_tuning is not None and self.args.should_save:
                fine_tuning.save(output_dir or str(self.args.output_dir))
                self._copy_kept_files(Path(output_dir or str(self.args.output_dir)))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.deltas is None or not self.is_deepspeed_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        self.model_wrapped.save_checkpoint(output_dir, exclude_frozen_parameters=True)
        if self.args.should_save and not isinstance(self.lr_scheduler, DeepSpeedSchedulerWrapper):
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _init_training_state(
        self, max_steps: int, steps_per_epoch: int, epochs: int, resume_from_checkpoint: str | None, trial: Any
    ) -> tuple[int, int]:
        start = super()._init_training_state(max_steps, steps_per_epoch, epochs, resume_from_checkpoint, trial)
        if resume_from_checkpoint is not None:
            best = checkpoints.best_of(Path(resume_from_checkpoint))
            self.state.best_model_checkpoint = str(best) if best else None
            self._prune(Path(resume_from_checkpoint))  # killed before it could prune
        is_over = self.state.global_step >= max_steps  # killed after the last checkpoint: train no further epoch
        return (epochs, 0) if is_over else start

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        with self._reading(resume_from_checkpoint):
            prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if self.is_deepspeed_enabled:
            link_masters(self.model_wrapped.optimizer)
        return prepared

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint and self.is_deepspeed_enabled:
            mend_optimizer(self.model_wrapped, Path(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.deltas is None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self.deltas.load(SparseFineTuning.load(resume_from_checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        try:
            self.write_model(Path(output_dir or self.args.output_dir), state_dict)
        except Exception as error:  # raised by `save_model`, because other ranks may wait in an exchange until then
            self._unwritten = error

    def write_model(self, folder: Path, state_dict: dict[str, Tensor] | None) -> None:
        """Write the model and what stands beside it to a folder.

        Args:
            folder: made if it is missing.
            state_dict: name → weight, if the model's own weights are not whole on this rank.
        """
        if state_dict:  # DeepSpeed gathers a tied weight under each of its names, and each would be written
            second_names = getattr(self.model, "all_tied_weights_keys", None) or {}
            state_dict = {name: tensor for name, tensor in state_dict.items() if name not in second_names}
        save_under_own_names(self.model)
        super()._save(str(folder), state_dict)
        if self.args.should_save:
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json holds the arguments
            self._copy_kept_files(folder)

    def _copy_kept_files(self, folder: Path) -> None:
        for path in self.keep_files:
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                shutil.copy2(path, folder / path.name)

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint or "")
        other = resuming.fit_best(self.args, best, deepspeed=self.is_deepspeed_enabled)
        if self.is_deepspeed_enabled:
            load_universal(self.model_wrapped, other)
        elif self.deltas is not None:
            self.deltas.load(SparseFineTuning.load(best))
            return
        with self._reading(best):
            super()._load_best_model()
        if self.deltas is not None:
            self.deltas.write()

    def _reading(self, checkpoint: str | Path | None) -> AbstractContextManager[None]:
        if checkpoint is None:
            return nullcontext()
        return resuming.reading(self.args, Path(checkpoint), deepspeed=self.is_deepspeed_enabled)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        names = dict(self.model.named_parameters(remove_duplicate=False))
        count = Counter(map(id, names.values()))
        tied = {name for name, parameter in names.items() if count[id(parameter)] > 1}  # saved under one name only
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.check_state()
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with failing_together():
            if self.args.should_save:
                checkpoints.make_room(folder)
        keep, self.args.save_total_limit = self.args.save_total_limit, None  # prune below, once the new one is whole
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = keep
        self._barrier()
        with failing_together():
            if self.args.should_save:
                about = {ROWS_OF_STEP: self.step_size().rows}
                best = self.state.best_model_checkpoint
                checkpoints.seal(folder, self.args.world_size, seals_of(self.args), best, **about)
        self._prune(folder)
        self.on_saved()

    def step_size(self) -> StepSize:
        """Return what makes up an optimiser step of this run."""
        return StepSize.of(vars(self.args), self.args.world_size)

    def _prune(self, newest: Path) -> None:
        """Delete the oldest checkpoints, so that no more are left than `args.save_total_limit` allows."""
        with failing_together():
            if self.args.should_save and self.args.save_total_limit:
                checkpoints.prune(newest, self.args.save_total_limit, self.state.best_model_checkpoint)

    def on_saved(self) -> None:
        """Note that a checkpoint is written; every rank calls this. Does nothing unless a subclass defines it."""

    def _barrier(self) -> None:
        if self.args.parallel_mode == ParallelMode.DISTRIBUTED:
            wait_for_every_rank()
