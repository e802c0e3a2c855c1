"""Callbacks of both phases: a progress bar with the latest losses, and when to log, validate and save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

SHOWN = ("loss", "eval_loss", "tokens_per_second")


class ShortProgress(ProgressCallback):
    """Progress bar of `transformers` that shows the latest logged values of `SHOWN` in its line."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self._latest: dict[str, float] = {}
        if self.training_bar is not None:
            folder = Path(str(args.output_dir)).name
            self.training_bar.set_description(folder if folder.startswith("stage-") else "training")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or self.training_bar is None or not logs:
            return
        self._latest |= {name: logs[name] for name in SHOWN if isinstance(logs.get(name), (int, float))}
        texts = [f"{name.replace('_per_', '/')} {self._latest[name]:.4g}" for name in SHOWN if name in self._latest]
        self.training_bar.set_postfix_str(", ".join(texts))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Do nothing: validation draws its own bar."""

    on_prediction_step = on_predict = on_evaluate


class EndOfRun(TrainerCallback):
    """Callback that validates and saves at the last step, too, so that the last model can be chosen as the best.

    It does not validate if `eval_strategy` is "no", and does not save if `save_strategy` is "no".
    """

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = args.eval_strategy != IntervalStrategy.NO
            control.should_save = args.save_strategy != SaveStrategy.NO


class OwnIntervals(TrainerCallback):
    """Callback that makes a resumed run use its own intervals of logging, validation and saving, not the checkpoint's.

    Without it, `Trainer` takes the intervals from the checkpoint's state.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        state.compute_steps(args, state.max_steps)
