"""A stage of a run: its folder, its sealed result, and the removal of its checkpoints."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bistil_ds.errors import Notice
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import SEAL, Seals, damage

RESULT = "result"  # subfolder of a finished stage: the chosen entries, or a sparse fine-tuning
# Training arguments of a full stage that replace the run's: it chooses entries by its last weights, not by its best.
UNVALIDATED = {"load_best_model_at_end": False, "eval_strategy": "no", "eval_on_start": False}


@dataclass(frozen=True)
class Stage:
    """One training stage: `full` (finds entries), `sparse` (trains them), or `dense` (trains all; the only stage)."""

    kind: Literal["full", "sparse", "dense"]
    number: int  # from 1
    folder: Path

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    def is_done(self, seals: Seals) -> bool:
        """Return whether the stage has a whole result; call it on one rank only. A Notice names a damaged file.

        Raises:
            InputError: the result is not signed by the user's key, and `seals` does not trust other signatures.
        """
        if not (self.result / SEAL).exists():
            return False
        if reason := damage(self.result):
            warnings.warn(f"the {self.kind} stage runs again: {reason}", Notice, stacklevel=2)
            return False
        seals.check_signed(self.result)
        return True

    def remove_checkpoints(self) -> None:
        """Delete a finished stage's checkpoints; the stage folder keeps the newest one's `trainer_state.json`.

        Call it on one rank only, when no rank trains the stage any more. The newest checkpoint is deleted last, so that
        an interrupted removal can be repeated.
        """
        folders = checkpoints.all_checkpoints(self.folder)
        if folders and (history := folders[-1] / checkpoints.STATE).is_file():
            shutil.copy2(history, self.folder / checkpoints.STATE)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
