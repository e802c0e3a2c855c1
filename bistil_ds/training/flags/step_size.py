"""The rows of an optimiser step, which a resumed run must keep: schedule, epochs and order of the data depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError

ROWS_OF_STEP = "rows_of_step"  # key in a run's record and in the seal of a checkpoint


@dataclass(frozen=True)
class StepSize:
    """What makes up an optimiser step: rows of a rank's micro-step, micro-steps, and ranks."""

    batch: int
    accumulation: int
    ranks: int

    @classmethod
    def of(cls, training: Mapping[str, Any], ranks: int) -> StepSize:
        """Return the size that training arguments ask for, on this number of ranks."""
        return cls(training["per_device_train_batch_size"], training["gradient_accumulation_steps"], ranks)

    @property
    def rows(self) -> int:
        return self.batch * self.accumulation * self.ranks

    def steps_of_epoch(self, rows: int, *, drop_last: bool) -> int:
        """Return how many steps transformers' Trainer takes in a pass over this many rows.

        Args:
            drop_last: whether rows that fill no micro-step on every rank are left out, as by `--dataloader_drop_last`.
        """
        batches = rows // self.batch if drop_last else -(-rows // self.batch)
        micro_steps = batches // self.ranks if drop_last else -(-batches // self.ranks)
        return max(1, -(-micro_steps // self.accumulation))

    def check_kept(self, recorded: Any, folder: str | Path) -> None:
        """Raise InputError, with flags that keep it, if a step had another number of rows.

        Args:
            recorded: the number of rows that the run or checkpoint in `folder` recorded; None, of a version that
                recorded none, passes.
        """
        if recorded is None:
            return
        if type(recorded) is not int or recorded < 1:
            raise InputError(f"{folder}: {ROWS_OF_STEP} is {recorded!r}, expected a number of rows")
        if recorded != self.rows:
            raise InputError(
                f"--per_device_train_batch_size {self.batch} --gradient_accumulation_steps {self.accumulation}, ranks "
                f"{self.ranks}: {self.rows} rows in a step, but {recorded} in {folder}, and a resumed run cannot "
                f"change it; {self._advice(recorded)}"
            )

    def _advice(self, rows: int) -> str:
        of_rank, rest = divmod(rows, self.ranks)
        if rest:
            return f"take a number of ranks that divides {rows}"
        if of_rank % self.batch == 0:
            return f"--gradient_accumulation_steps {of_rank // self.batch} keeps it"
        if of_rank % self.accumulation == 0:
            return f"--per_device_train_batch_size {of_rank // self.accumulation} keeps it"
        return f"--per_device_train_batch_size {of_rank} --gradient_accumulation_steps 1 keeps it"
