"""Callbacks of both phases: a progress bar whose lines fit a terminal, and validation and saving at the last step."""

from __future__ import annotations

from typing import Any

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

SHOWN = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")


class ShortProgress(ProgressCallback):
    """The progress bar of `transformers`, which here prints only a few of the logged values (`SHOWN`)."""

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
        shown = [f"{name} {logs[name]:.4g}" for name in SHOWN if isinstance(logs.get(name), (int, float))]
        if shown:
            self.training_bar.write(f"step {state.global_step:>7}  " + "  ".join(shown))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Do nothing: validation draws its own bar."""

    on_prediction_step = on_predict = on_evaluate


class EndOfRun(TrainerCallback):
    """Callback that validates and saves at the last step too, so that the last model can be the best one."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = args.eval_strategy != IntervalStrategy.NO
            control.should_save = args.save_strategy != SaveStrategy.NO
