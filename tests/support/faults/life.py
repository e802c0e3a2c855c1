"""One life of a run: fork its ranks, kill them at the place that was chosen, and wait until all have ended."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bistil_ds.commands import general, task, teacher
from bistil_ds.distributed import startup
from faults.hook import Shared, count_operations, place, report_progress
from faults.places import AT_ANY_TIME, Kill

COMMANDS = {"general": general.main, "teacher": teacher.main, "task": task.main}
KEPT = 20_000  # bytes of what ranks write
OF_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Patience:
    """After how many seconds a run that has not ended hangs.

    Args:
        whole: from its start.
        others: from the end of the first rank, in which the others find out that one of them is gone.
    """

    whole: float = 900.0
    others: float = 60.0  # on a busy machine


USUAL = Patience()


@dataclass
class Ended:
    """How a life ended.

    Args:
        codes: exit code by rank; the negative number of a signal that ended the rank.
        said: the end of what the ranks wrote.
        hung: whether ranks had to be killed because they did not end.
        trained: seconds from the first batch of training to the end; 0 without one.
        after: seconds from the first rank's end to the last one's.
        first, last: [folder, step] of the first and the last batch of training that began; None without one.
        batches: how many batches began.
        between: seconds from the start of the first batch to that of the last.
        file: the file at which the hook fired; None if it did not.
        operations: in a life without a kill, area → operation → how many there were on rank 0.
    """

    codes: list[int]
    said: str
    hung: bool
    trained: float
    after: float
    first: list[Any] | None = None
    last: list[Any] | None = None
    batches: int = 0
    between: float = 0.0
    file: str | None = None
    operations: dict[str, dict[str, int]] | None = None

    @property
    def killed(self) -> bool:
        return any(code in (-signal.SIGKILL, -signal.SIGXFSZ) for code in self.codes)


def live(
    command: str,
    words: Sequence[object],
    ranks: int,
    run: Path,
    cache: Path,
    kill: Kill | None,
    patience: Patience = USUAL,
    watch: Callable[[Mapping[int, int]], None] = lambda running: None,
) -> Ended:
    """Run a command on forks of this process, one for each rank, and kill it if told to.

    This process must have imported what the command needs; `warm_up` does so. `watch` is called again and again with
    process → rank of those that run.
    """
    progress, event, counts = Shared(), Shared(), Shared()
    reading, writing = os.pipe()
    port, running = str(startup.free_port()), dict[int, int]()
    for rank in range(ranks):

        def prepare(rank: int = rank) -> None:
            if rank == 0:
                report_progress(progress)
            if kill is None and rank == 0:
                count_operations(run, cache, counts)
            elif kill is not None and kill.operation and kill.rank == rank:
                place(kill, run, cache, event)

        group = next(iter(running), 0)  # the first rank leads the group
        process = os.fork()
        if not process:
            os.close(reading)
            os.environ["BISTIL_CACHE"] = str(cache)
            _be_rank(command, words, _places(rank, ranks, port), writing, prepare, group)
        running[process] = rank
        os.setpgid(process, group or process)
    os.close(writing)
    ended = _wait(running, reading, kill, progress, patience, watch)
    os.close(reading)
    ended.first, ended.last, ended.batches, ended.between = progress.get() or (None, None, 0, 0.0)
    ended.file, ended.operations = event.get(), counts.get()
    return ended


def _places(rank: int, ranks: int, port: str) -> dict[str, str]:
    """Return the variables that a launcher sets; none for one rank, as if plain `python` had started it."""
    if ranks == 1:
        return {}
    values = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    return {**{name: str(value) for name, value in values.items()}, "MASTER_ADDR": "127.0.0.1"}


def _be_rank(
    command: str, words: Sequence[object], places: dict[str, str], out: int, prepare: Callable[[], None], group: int
) -> None:
    """Be one rank, in a forked process, and never return."""
    code = 70
    try:
        os.setpgid(0, group)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdin = open(os.devnull)  # noqa: SIM115
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        for name in OF_RANKS:
            os.environ.pop(name, None)
        os.environ.update(places)
        torch.set_num_threads(1)  # threads of this process's parent are not there
        sys.argv = [f"launch_scripts/{command}.py", *map(str, words)]
        prepare()
        code = COMMANDS[command](sys.argv[1:])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(
    running: dict[int, int],
    pipe: int,
    kill: Kill | None,
    progress: Shared,
    patience: Patience,
    watch: Callable[[Mapping[int, int]], None],
) -> Ended:
    """Wait for all ranks, read what they write, and kill them when it is time, if the kill has no operation.

    Args:
        running: process → rank; the first one leads the group of all.
    """
    codes, said, group = dict[int, int](), b"", next(iter(running))
    dies = hung = False  # whether the others shall be killed: as one was, or because they do not end
    process_of = {rank: process for process, rank in running.items()}
    began, trains, ended_first = time.monotonic(), math.inf, math.inf
    due, waits = math.inf, True  # when to kill; whether to look for the batch before
    while running:
        if select.select([pipe], [], [], 0.01)[0]:
            said = (said + os.read(pipe, 1 << 16))[-KEPT:]
        watch(running)
        now = time.monotonic()
        if waits and (trained := progress.get()):
            trains = min(trains, now)
            if kill and kill.area == AT_ANY_TIME and trained[2] >= kill.number:
                due = now + kill.seconds
            waits = kill is not None and kill.area == AT_ANY_TIME and due == math.inf
        if kill and now >= due:
            due = math.inf
            with suppress(ProcessLookupError):  # it has ended
                os.kill(process_of[kill.rank], signal.SIGKILL) if kill.alone else os.killpg(group, signal.SIGKILL)
        for process, status in _ended(running):
            codes[running.pop(process)] = code = os.waitstatus_to_exitcode(status)
            ended_first = min(ended_first, now)
            dies = dies or bool(code < 0 and kill and not kill.alone)
        if running and not hung:
            hung = now > began + patience.whole or now > ended_first + patience.others
            if hung or dies:
                os.killpg(group, signal.SIGKILL)
                dies = False
    while chunk := os.read(pipe, 1 << 16):
        said = (said + chunk)[-KEPT:]
    now = time.monotonic()
    by_rank = [codes[rank] for rank in sorted(codes)]
    return Ended(by_rank, said.decode(errors="replace"), hung, max(now - trains, 0.0), now - ended_first)


def _ended(running: Iterable[int]) -> list[tuple[int, int]]:
    """Return process and status of those that have ended since the last call."""
    return [(one, status) for one in running for ended, status in [os.waitpid(one, os.WNOHANG)] if ended]


def warm_up() -> None:
    """Import what the ranks need, and measure once what each process measures once, before this process forks."""
    startup.choose_accelerator()
    import deepspeed  # noqa: F401 (imported for the ranks, after the accelerator is chosen)
    import torch.utils.tensorboard

    from bistil_ds.training.speed import ceiling_of

    ceiling_of(torch.device("cpu"), torch.float32)
