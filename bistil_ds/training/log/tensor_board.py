"""TensorBoard's log of a run: one for the run or stage, however often it is killed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from bistil_ds.runs.folder import is_begun, run_of

LOGS = "runs"  # subfolder of the folder of a run or stage; transformers names the log in it by host and time


class RunTensorBoard(TensorBoardCallback):
    """Callback of TensorBoard that goes on with the log of an earlier start of the run.

    TensorBoard then hides what the earlier start logged from the checkpoint's step on. The values of this step are
    written again, from the checkpoint; the run itself logs those of later steps again. Where the variable
    TENSORBOARD_LOGGING_DIR names a folder, it is used as transformers uses it.
    """

    logging_dir: str | None  # set by TensorBoardCallback

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        earlier = self._earlier_log(args, state) if state.is_world_process_zero else None
        if earlier is not None:
            self.logging_dir = str(earlier)
            self.tb_writer = self._SummaryWriter(log_dir=self.logging_dir, purge_step=state.global_step)
        super().on_train_begin(args, state, control, **kwargs)
        if earlier is not None:
            for row in state.log_history:
                if row["step"] == state.global_step:
                    values = {name: value for name, value in row.items() if name != "step"}
                    self.on_log(args, state, control, logs=values)

    def _earlier_log(self, args: TrainingArguments, state: TrainerState) -> Path | None:
        """Return the folder of the log that an earlier start left; None if there is none."""
        folder = Path(str(args.output_dir)).resolve()
        goes_on = state.global_step or is_begun(run_of(folder))  # a trainer made in Python may start anew in a folder
        if self.logging_dir is not None or not goes_on or not (folder / LOGS).is_dir():
            return None
        logs = [path for path in (folder / LOGS).iterdir() if any(path.glob("events.out.tfevents.*"))]
        return max(logs, key=lambda path: path.stat().st_mtime, default=None)


class TensorBoardText(TrainerCallback):
    """Callback that writes a text, in Markdown, to TensorBoard when training begins.

    Args:
        trainer: the trainer, which this callback is added to.
        tag: the text's name in TensorBoard.
    """

    def __init__(self, trainer: Trainer, tag: str, text: str) -> None:
        self.trainer, self.tag, self.text = trainer, tag, text
        trainer.add_callback(self)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
                callback.tb_writer.add_text(self.tag, self.text)
