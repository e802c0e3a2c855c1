"""Stop a run when SIGTERM or SIGUSR1 arrives: save a checkpoint at the next step, on all ranks, and exit with code 75.

Schedulers send such a signal before they take a machine away. The rank that gets it may not be the only one, or the
first, so the ranks agree at the end of each optimiser step. The exception is `bistil_ds.errors.Preempted`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from bistil_ds.distributed import startup
from bistil_ds.distributed.agreement import on_any_rank
from bistil_ds.errors import Preempted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_listens = False  # whether a signal is kept until the next step ends
_received: signal.Signals | None = None  # the signal that was kept


@contextmanager
def stop_at_once() -> Iterator[None]:
    """Raise Preempted on rank 0 when a signal arrives; for the time before training, when there is no step to save.

    Other ranks wait for rank 0 in code that no exception can reach, so a signal ends them as it always does.
    """

    def stop(number: int) -> None:
        name = signal.Signals(number).name
        raise Preempted(f"stopped by {name} before training began: the same command starts again")

    if startup.rank() > 0:
        yield
        return
    with _handling(stop):
        yield


@contextmanager
def save_first() -> Iterator[None]:
    """Keep a signal that arrives until a `Preemption` callback has saved a checkpoint; then leave the process group.

    Raises:
        Preempted: from the callback.
    """
    global _listens, _received

    def keep(number: int) -> None:
        global _received
        _received = signal.Signals(number)

    with _handling(keep) as handles:
        _listens, _received = handles, None
        try:
            yield
        except Preempted:
            startup.stop_distributed()
            raise
        finally:
            _listens, _received = False, None


@contextmanager
def _handling(react: Callable[[int], None]) -> Iterator[bool]:
    """Call `react` with each signal that arrives. Yield False in another thread than the main one, which gets none."""
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            react(number)
            return
        signal.signal(number, signal.SIG_DFL)  # a forked worker, which its parent ends so
        os.kill(os.getpid(), number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield True
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


class Preemption(TrainerCallback):
    """Callback that saves a checkpoint and raises Preempted once any rank got a signal; idle outside of `save_first`.

    A signal that arrives in the last step is left to the next stage, or to nobody: the run ends by itself.
    """

    def __init__(self) -> None:
        self._stops = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if _listens and on_any_rank(_received is not None) and state.global_step < state.max_steps:
            control.should_log = control.should_save = self._stops = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._stops:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            name = _received.name if _received is not None else "a signal to another rank"
            raise Preempted(
                f"stopped by {name} at step {state.global_step} of {state.max_steps}: saved {folder}; the same command "
                "with --resume_from_checkpoint true goes on"
            )


def close_displays(trainer: Trainer) -> None:
    """Close a trainer's progress bar and write out its TensorBoard log, which the end of its training would do."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
            callback.training_bar.close()
        if (writer := getattr(callback, "tb_writer", None)) is not None:
            writer.close()
