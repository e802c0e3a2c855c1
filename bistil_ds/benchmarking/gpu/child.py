"""Run a part of the GPU run in a process of its own, end it in time, and read what it found as it comes.

A part may crash or hang: what it had found stays, and the last lines of its output say why.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bistil_kernels.runtime.choice import chosen, use

from bistil_ds.benchmarking.gpu.parts import Part
from bistil_ds.benchmarking.gpu.setting import Emit, OutOfTime, Setting, Skip
from bistil_ds.benchmarking.harness.own_process import fresh_processes
from bistil_ds.benchmarking.harness.result_file import REPOSITORY
from bistil_ds.runs.bounded import parse_json

Event = dict[str, Any]  # one entry: "finding", "record" or "ended"
GRACE = 5.0  # seconds, or a tenth of a part's time if that is less: see `launch`
POLL_SECONDS = 0.2
LAST_LINES = 12  # of a failed part's output


def start_server() -> None:
    """Start the process that the parts' processes are forks of, which imports the libraries; wait until it is ready."""
    process = fresh_processes().Process()
    process.start()
    process.join()


def launch(part: Part, seconds: float, results: Path, *, rehearsal: bool) -> Generator[list[Event]]:
    """Run a part for at most `seconds`, and yield its findings and records as they come; its end is the last event.

    The part should end by itself two graces before its time is out. One grace before, it is interrupted as by Ctrl-C;
    and when the time is out, it is killed with all processes that it started.

    Yields:
        Lists of new events: `{"finding": …}`, `{"record": name}`, and as the last of all `{"ended": {"status": …,
        "why": …, "error": last lines}}`. The status is done, skipped, stopped (its time was out) or failed.
    """
    grace, begun = min(GRACE, seconds / 10), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        setting = Setting(rehearsal, begun + seconds - 2 * grace, results, work)
        process = fresh_processes().Process(target=serve, args=(part.measure, setting, seconds, chosen()))
        process.start()
        try:
            yield from _follow(process, work, begun + seconds - grace, begun + seconds)
        finally:
            _kill(process)


def serve(measure: str, setting: Setting, seconds: float, kernels: str) -> None:
    """Run a part in this process, which has just been started for it."""
    os.setpgrp()  # so that all that it starts can be killed with it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(int(seconds + 2 * GRACE))  # ends this process if the one that watches it is gone
    log = os.open(setting.work / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    faulthandler.enable()
    gc.freeze()  # exempts what the server imported from the collections that each training asks for
    os.environ["HF_HUB_OFFLINE"] = "1"
    if setting.rehearsal:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    use(kernels)  # the server that this process is a fork of may have been started under another choice
    emit = Emit(lambda finding: _tell(setting, finding=finding), lambda name: _tell(setting, record=name))
    module, _, function = measure.partition(":")
    try:
        getattr(importlib.import_module(module), function)(setting, emit)
    except Skip as reason:
        _tell(setting, ended={"status": "skipped", "why": str(reason)})
    except (OutOfTime, KeyboardInterrupt):
        _tell(setting, ended={"status": "stopped", "why": "its time was out"})
    else:
        _tell(setting, ended={"status": "done", "why": ""})


def _tell(setting: Setting, **event: object) -> None:
    with open(setting.work / "events", "a", encoding="utf-8") as file:
        file.write(json.dumps(event, default=str) + "\n")


def _follow(process: BaseProcess, work: Path, interrupt_at: float, kill_at: float) -> Iterator[list[Event]]:
    """Yield the events of a part until it ends, interrupt it and kill it when it is time, and yield its end."""
    read, interrupted = 0, False
    ended: dict[str, Any] | None = None
    while True:
        alive = process.is_alive()
        events = _events(work)
        new = events[read:]
        if new and "ended" in new[-1]:
            ended = new.pop()["ended"]
            kill_at = min(kill_at, time.monotonic() + GRACE)  # libraries may hang at the exit
        if new:
            yield new
        read, now = len(events), time.monotonic()
        if not alive or now >= kill_at:
            break
        if now >= interrupt_at and not interrupted:
            interrupted = True
            _signal(process, signal.SIGINT)
        process.join(POLL_SECONDS)
    yield [{"ended": {"error": [], **(ended or _failure(process, work, timed_out=alive))}}]


def _events(work: Path) -> list[Event]:
    """Return what the part has told so far, without a line that it is just writing."""
    path = work / "events"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [parse_json(line) for line in lines if line.endswith("\n")]


def _failure(process: BaseProcess, work: Path, *, timed_out: bool) -> dict[str, Any]:
    """Return the end of a part that did not say how it ended."""
    code = process.exitcode
    why = f"ended with exit code {code}"
    if timed_out:
        why = "did not end when its time was out, and was killed"
    elif code is not None and code < 0:
        why = f"was ended by {signal.Signals(-code).name}"
    return {"status": "failed", "why": why, "error": last_lines(work / "log")}


def last_lines(log: Path) -> list[str]:
    """Return the last lines of a part's output; folders of this machine are shortened to their last name."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    for folder in (str(REPOSITORY), sys.prefix, str(Path.home())):
        text = text.replace(folder, Path(folder).name)
    return [line for line in text.splitlines() if line.strip()][-LAST_LINES:]


def _kill(process: BaseProcess) -> None:
    _signal(process, signal.SIGKILL)
    process.join()


def _signal(process: BaseProcess, number: signal.Signals) -> None:
    """Send a signal to a part and all that it started, or to the part alone if it has not made its group yet."""
    assert process.pid is not None
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        if process.is_alive():
            os.kill(process.pid, number)
