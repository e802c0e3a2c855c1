"""Start small runs of two ranks at once, one for each fault; say how each rank ended, after how long, and its words.

    python faulty_ranks.py SECONDS FAULT ...

SECONDS is the runs' `rank_timeout`. Prints a JSON object: fault → by rank, [exit code, seconds, standard error].
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

from bistil_ds.distributed import startup
from bistil_ds.distributed.agreement import ask_rank_0
from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.errors import OtherRankError

LONG = 60.0  # seconds that no run here may take


def raises() -> None:
    raise ValueError("no such layer")


def stops() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps() -> None:
    time.sleep(LONG)


DEEDS: dict[str, Callable[[], None]] = {"raises": raises, "stops": stops, "dies": dies, "sleeps": sleeps}


def wait_until_watched() -> None:
    while not any(thread.name == "watch" for thread in threading.enumerate()):
        time.sleep(0.01)


def stop_when_watched() -> None:
    wait_until_watched()
    stops()


def say_when_watched(place: Path) -> None:
    wait_until_watched()
    place.touch()


def run(fault: str, limit: float, watched: Path) -> None:
    """Be one rank of a run in which, by the fault "1 stops" for example, rank 1 stops in training.

    Before the ranks are paused, each touches the file `watched` when it is watched.
    """
    who, _, deed = fault.partition(" ")

    def prepare() -> str:
        time.sleep(limit + 1 if deed in ("prepares long", "stops early", "pauses") else 0)
        return "prepared"

    def train(prepared: str) -> None:
        startup.wait_for_every_rank()
        if str(startup.rank()) == who and deed in DEEDS:
            DEEDS[deed]()
        if deed == "saves long":
            ask_rank_0(lambda: time.sleep(limit + 1))
        dist.all_reduce(torch.ones(1))

    if str(startup.rank()) == who and deed == "stops early":
        threading.Thread(target=stop_when_watched, daemon=True).start()
    if deed == "pauses":
        threading.Thread(target=say_when_watched, args=(watched,), daemon=True).start()
    if deed == "sees one GPU" and str(startup.rank()) == who:
        mock.patch.multiple(torch.cuda, is_available=lambda: True, device_count=lambda: 1).start()
    if deed == "never starts":
        startup.REACHED = timedelta(seconds=limit)
        if str(startup.rank()) == who:
            os._exit(1)
    try:
        for _ in range(2 if deed == "run twice" else 1):
            run_on_ranks(prepare, train, use_deepspeed=False, rank_timeout=limit)
    except OtherRankError as error:
        sys.exit(f"error: {error}")
    startup.stop_distributed()


def start(fault: str, rank: int, port: int, limit: float, log: Path) -> int:
    """Fork a rank and return its process id."""
    if process := os.fork():
        return process
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in places.items()})
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
    run(fault, limit, watched_file(log))
    sys.stderr.flush()
    os._exit(0)


def watched_file(log: Path) -> Path:
    return log.with_name(f"{log.name}-watched")


def pause(logs: dict[int, Path], seconds: float) -> None:
    """Stop the processes (process id → log) for a while, as a scheduler does that suspends a job."""
    until = time.monotonic() + LONG
    while time.monotonic() < until and not all(watched_file(log).exists() for log in logs.values()):
        time.sleep(0.05)
    for number, wait in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0)):
        for process in logs:
            os.kill(process, number)
        time.sleep(wait)


def main(limit: float, faults: list[str]) -> None:
    folder, began = Path(tempfile.mkdtemp()), time.monotonic()
    running, ended = {}, {fault: [[0, 0.0, ""], [0, 0.0, ""]] for fault in faults}
    for fault in faults:
        port = startup.free_port()
        for rank in range(2):
            log = folder / f"{fault}-{rank}"
            running[start(fault, rank, port, limit, log)] = fault, rank, log
    paused = {process: log for process, (fault, _, log) in running.items() if fault.endswith("pauses")}
    threading.Thread(target=pause, args=(paused, limit)).start()
    while running:
        process, status = os.wait()
        fault, rank, log = running.pop(process)
        code = os.waitstatus_to_exitcode(status)
        ended[fault][rank] = [code, time.monotonic() - began, log.read_text(errors="replace")]
    print(json.dumps(ended))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
