"""A stage of a run: its folder, the sealed result it leaves there, and what goes once that is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bistil_ds.runs import checkpoints

RESULT = "result"  # what a finished stage leaves in its folder: a selection, or an SFT
HISTORY = "trainer_state.json"  # and its newest checkpoint's log of losses and metrics


@dataclass(frozen=True)
class Stage:
    """One stage of a run: `full` (finds entries), `sparse` (trains them) or `dense` (trains everything, alone)."""

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
        """Of a stage that is done, on one rank, when no rank trains it any more; `trainer_state.json` stays.

        The newest goes last, so that a removal that was interrupted can be done again.
        """
        folders = checkpoints.all_checkpoints(self.folder)
        if folders and (history := folders[-1] / HISTORY).is_file():
            shutil.copy2(history, self.folder / HISTORY)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
