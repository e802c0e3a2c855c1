"""The `transformers.Trainer` of both phases: sealed checkpoints, a log that outlives kills, and kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedModel
from transformers.trainer_callback import ProgressCallback, TrainerControl
from transformers.trainer_pt_utils import LengthGroupedSampler

from bistil_ds.errors import NonFiniteError, Preempted
from bistil_ds.runs.folder import is_begun, run_of
from bistil_ds.runs.record import RunRecord
from bistil_ds.training.flags.choices import check_choices
from bistil_ds.training.kernels.choice import KernelChoice, choose_kernels
from bistil_ds.training.log.logged_trainer import LoggedTrainer
from bistil_ds.training.log.tensor_board import TensorBoardText
from bistil_ds.training.preemption import Preemption, close_displays
from bistil_ds.training.progress import OwnIntervals, ShortProgress
from bistil_ds.training.sampling import LengthGroups
from bistil_ds.training.trackers import keep_in_run_folder


class BaseTrainer(LoggedTrainer):
    """`LoggedTrainer` whose losses and sparse updates the chosen kernels serve.

    A subclass defines `batch_loss` (see `FiniteTrainer`).

    Args:
        model, args, keep_files, kwargs: see `SealedTrainer`.

    Raises:
        InputError: see `check_choices`.
    """

    control: TrainerControl
    _kernel_choice: KernelChoice | None = None  # made at first use, because every rank takes part

    def __init__(self, model: PreTrainedModel, args: Any, *, keep_files: Sequence[Path] = (), **kwargs: Any) -> None:
        check_choices(args)
        if args.n_gpu > 1:
            args._n_gpu = 1  # DataParallel's replicas record no attention; launch a process for each GPU instead
        if args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = False  # there are none: parameters that no loss reaches are frozen
        super().__init__(model=model, args=args, keep_files=keep_files, **kwargs)
        self.model_accepts_loss_kwargs = False  # else loss and gradients are scaled by accumulation x ranks
        keep_in_run_folder(self)  # the files of wandb and mlflow
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(ShortProgress)
        self.add_callback(Preemption())
        self.add_callback(OwnIntervals())

    def kernel_choice(self) -> KernelChoice:
        """Return what serves losses and sparse updates (see `choose_kernels`); every rank calls this."""
        if self._kernel_choice is None:
            self._kernel_choice = choose_kernels(self.args)
            TensorBoardText(self, "kernels", self._kernel_choice.as_text())
        return self._kernel_choice

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        return LengthGroups(self.step_size().rows, sampler.lengths, seed, lambda: int(self.state.epoch or 0))

    def record(self, **results: Any) -> None:
        """Add results, as JSON values, to the run's record; a trainer made in Python has none."""
        run = run_of(Path(str(self.args.output_dir)).resolve())
        if self.is_world_process_zero() and is_begun(run):
            RunRecord.open(run).update(results=results)

    @contextmanager
    def during_training(self) -> Iterator[None]:
        """Train with the chosen kernels, and end the displays of progress if training stops early.

        Raises:
            Preempted: inside `preemption.save_first`, a signal asked to stop, and a checkpoint was saved.
            NonFiniteError: see `FiniteTrainer`.
        """
        self.record(kernels=self.kernel_choice().as_record())
        try:
            with self.kernel_choice().serving():
                yield
        except (Preempted, NonFiniteError):
            close_displays(self)
            raise
