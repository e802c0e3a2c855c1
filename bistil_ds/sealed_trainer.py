"""A `transformers.Trainer` whose checkpoints are sealed, and which opens only sealed ones."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer
from transformers.training_args import ParallelMode

from bistil_ds import checkpoints
from bistil_ds.errors import InputError


class SealedTrainer(Trainer):
    """Saves whole checkpoints (`bistil_ds.checkpoints`), resumes on any number of ranks, keeps no pickled arguments.

    Args:
        keep_files: files copied beside every saved model.
    """

    model_wrapped: Any  # the model, or the engine around it

    def __init__(self, *args: Any, keep_files: Sequence[Path] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keep_files = list(keep_files)

    def on_saved(self) -> None:
        """Called on every rank when a checkpoint has been written."""

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """`Trainer.train`; it goes on from whole checkpoints of this run only, an InputError otherwise."""
        if resume_from_checkpoint:
            folder = Path(str(self.args.output_dir))
            found = checkpoints.find_checkpoint(folder, str(resume_from_checkpoint))
            resume_from_checkpoint = str(found) if found else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

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
            for path in self.keep_files:
                shutil.copy2(path, folder / path.name)

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint or "")
        if reason := checkpoints.broken(best):
            raise InputError(f"the best student cannot be loaded: {reason}")
        if self.is_deepspeed_enabled:  # it may have been written by another number of ranks than goes on now
            other = checkpoints.world_size_of(best) != self.args.world_size
            if other and self.args.should_save:
                checkpoints.to_universal(best)
            self._barrier()
            self.model_wrapped._config.load_universal_checkpoint = other
        super()._load_best_model()

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
        if self.args.parallel_mode == ParallelMode.DISTRIBUTED and torch.distributed.is_initialized():
            torch.distributed.barrier()
