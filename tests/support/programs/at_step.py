"""Run phase 1 or 2 as its launch script does, and do something in the middle of one optimiser step.

    python at_step.py COMMAND PLACE STEP ACTION FLAG...

COMMAND is `general` or `task`. PLACE ends the path of the folder in which the step is to come (a stage's folder in
phase 2). ACTION is `stop`: ask the run to save and stop. Or it is a folder: write a file `reached` there, and go on
once there is a file `go`. STEP -1 never comes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bistil_ds.commands import general, task
from bistil_ds.training.base_trainer import BaseTrainer


def main(command: str, place: str, step: str, action: str, *flags: str) -> int:
    before = BaseTrainer.before_loss

    def before_loss(self: BaseTrainer, inputs: dict[str, Any]) -> None:
        before(self, inputs)
        if self.state.global_step == int(step) and str(self.args.output_dir).endswith(place):
            act(action)

    BaseTrainer.before_loss = before_loss  # type: ignore[method-assign]
    return {"general": general, "task": task}[command].main(list(flags))


def act(action: str) -> None:
    if action == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
        return
    (Path(action) / "reached").touch()
    while not (Path(action) / "go").exists():
        time.sleep(0.05)


if __name__ == "__main__":  # DeepSpeed's launcher puts a flag of its own first
    raise SystemExit(main(*[word for word in sys.argv[1:] if not word.startswith("--local_rank")]))
