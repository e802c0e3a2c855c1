"""A stage of a run: its folder, its sealed result, and the removal of its checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bistil_ds.runs import checkpoints

RESULT = "result"  # subfolder of a finished stage: the chosen entries, or a sparse fine-tuning
HISTORY = "trainer_state.json"  # the Trainer's log of losses and metrics, in each checkpoint


@dataclass(frozen=True)
class Stage:
    """One training stage: `full` (finds entries), `sparse` (trains them), or `dense` (trains all and is alone)."""

    kind: Literal["full", "sparse", "dense"]
    number: int  # from 1
    folder: Path

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    @property
    def is_done(self) -> bool:
        return checkpoints.broken(self.result) is None

    def remove_checkpoints(self) -> None:
        """Delete a finished stage's checkpoints; the stage folder keeps the newest one's `trainer_state.json`.

        Call it on one rank, when no rank trains the stage any more. The newest checkpoint is deleted last, so that an
        interrupted removal can be repeated.
        """
        folders = checkpoints.all_checkpoints(self.folder)
        if folders and (history := folders[-1] / HISTORY).is_file():
            shutil.copy2(history, self.folder / HISTORY)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
