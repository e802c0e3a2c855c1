"""End a rank when its launcher is gone, on any system: otherwise a killed launcher would leave its ranks running.

A thread looks at the launcher once in a second. (Linux could send a signal by itself, PR_SET_PDEATHSIG. But that knows
the parent only, where `deepspeed` is two processes; and it fires when the parent's thread ends that made the rank.)
"""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import cache
from pathlib import Path

import psutil

from bistil_ds.console.terminal import say

PERIOD = 1.0  # seconds between two looks
SAVING = 30.0  # seconds for which a rank may go on, to save a checkpoint; launchers give as many after SIGTERM
INNER = "deepspeed.launcher.launch"  # the inner process of `deepspeed`, the parent of its ranks
BY_LAUNCHER = ("TORCHELASTIC_RUN_ID", "CROSS_RANK")  # variables that torchrun and `deepspeed` set for their ranks
ADOPTING = {"init", "systemd"}  # names of processes that adopt those whose parent has ended


@cache
def end_with_launcher() -> None:
    """From now on, treat the end of the launcher as SIGTERM: save a checkpoint if training has begun, and exit.

    Without a launcher this does nothing. A launcher is a Python process that started this rank, and the outer process
    of `deepspeed`; a shell or a scheduler is none.
    """
    if "RANK" not in os.environ:
        return
    launchers = find_launchers()
    if launchers or _is_orphan():
        threading.Thread(target=_watch, args=(launchers,), name="launcher", daemon=True).start()


def find_launchers() -> list[psutil.Process]:
    """Return the processes with which this rank shall end."""
    try:
        parent = psutil.Process().parent()
        if parent is None or "python" not in Path(parent.exe()).name:
            return []
        outer = parent.parent() if INNER in parent.cmdline() else None
        return [parent] if outer is None or "deepspeed" not in " ".join(outer.cmdline()) else [parent, outer]
    except psutil.Error:  # it has just ended, or belongs to another user
        return []


def _is_orphan() -> bool:
    """Return whether a launcher started this rank, but has ended since."""
    parent = os.getppid()
    if not any(name in os.environ for name in BY_LAUNCHER):
        return False
    try:
        return parent == 1 or psutil.Process(parent).name() in ADOPTING
    except psutil.Error:
        return True


def _watch(launchers: list[psutil.Process]) -> None:
    while launchers and not any(_is_gone(one) for one in launchers):
        time.sleep(PERIOD)
    if os.environ["RANK"] == "0":
        say("the launcher is gone: stopping, as by SIGTERM", error=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SAVING)
    os._exit(128 + signal.SIGTERM)  # the main thread waits for a rank that is gone


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
