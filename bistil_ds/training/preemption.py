"""Stop a run when SIGTERM or SIGUSR1 arrives: save a checkpoint at the next step, on all ranks, and exit with code 75.

Schedulers send such a signal before they take a machine away. Ranks may get the signal at different times, or not at
all. So at the end of each optimiser step all ranks check together whether any rank has got it. The run then ends by
raising `bistil_ds.errors.Preempted`.
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
    """Raise Preempted on rank 0 when a signal arrives. Use it before training, when there is nothing to save.

    Other ranks wait for rank 0 in code that no exception can interrupt, so a signal ends their process as usual.
    """

    def stop(number: int) -> None:
        name = signal.Signals(number).name
        raise Preempted(f"stopped by {name} before training began: the same command starts again")

    if startup.rank() > 0:
        yield
        return
    with on_signals(stop):
        yield


@contextmanager
def save_first() -> Iterator[None]:
    """Note a signal that arrives; the trainer's `Preemption` callback then saves a checkpoint and raises Preempted.

    Raises:
        Preempted: from the callback, after the process group has been left.
    """
    global _listens, _received

    def keep(number: int) -> None:
        global _received
        _received = signal.Signals(number)

    with on_signals(keep) as handles:
        _listens, _received = handles, None
        try:
            yield
        except Preempted:
            startup.stop_distributed()
            raise
        finally:
            _listens, _received = False, None


@contextmanager
def on_signals(react: Callable[[int], None]) -> Iterator[bool]:
    """Call `react` with the number of each of `SIGNALS` that arrives in the block, and yield True.

    Python handles signals in the main thread only; in any other thread, only yield False.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            react(number)
            return
        signal.signal(number, signal.SIG_DFL)  # this is a forked worker: let the signal end it
        os.kill(os.getpid(), number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield True
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


class Preemption(TrainerCallback):
    """Callback that saves a checkpoint and raises Preempted once any rank got a signal; idle outside of `save_first`.

    After a signal in its last step, a training just ends. If another training stage follows, that stage stops after its
    first step.
    """

    def __init__(self) -> None:
        self._stops = self._waits = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if _listens and on_any_rank(_received is not None) and state.global_step < state.max_steps:
            if _ends_epoch(state) and "epoch" in (args.eval_strategy, args.save_strategy):
                self._waits = True  # the epoch's validation is due before the checkpoint
            else:
                self._stop(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._waits:
            self._stop(control)

    def _stop(self, control: TrainerControl) -> None:
        control.should_log = control.should_save = self._stops = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._stops:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            name = _received.name if _received is not None else "a signal to another rank"
            raise Preempted(
                f"stopped by {name} at step {state.global_step} of {state.max_steps}: saved {folder}; the same command "
                "with --resume_from_checkpoint true goes on"
            )


def _ends_epoch(state: TrainerState) -> bool:
    return state.epoch is not None and float(state.epoch).is_integer()


def close_displays(trainer: Trainer) -> None:
    """Close a trainer's progress bar and write out its TensorBoard log, as the end of training would have done."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
            callback.training_bar.close()
        if (writer := getattr(callback, "tb_writer", None)) is not None:
            writer.close()
