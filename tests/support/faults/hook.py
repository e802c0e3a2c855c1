"""Inside a rank: report the progress of training, and end the process at the place of a kill.

Python tells an audit hook of each operation on files before it is done. Files that libraries write without Python
(safetensors, torch, Arrow) are not told of; `inside` reaches them, because the kernel watches the size of files.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.places import LOCK, PLACES, RECORD, SEAL, Kill, area_of

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
REMOVALS = ("os.remove", "os.rmdir", "shutil.rmtree")
EVENTS = ("open", "os.mkdir", "os.rename", *REMOVALS)
AFTER = {"seal": "sealed", "rename": "renamed"}  # what a kill after the operation is called


class Shared:
    """A value of JSON that a rank leaves for its parent, which reads it after the rank's death, too."""

    def __init__(self, size: int = 4096) -> None:
        self._memory = mmap.mmap(-1, size)

    def put(self, value: Any) -> None:
        text = json.dumps(value).encode()
        self._memory.seek(0)
        self._memory.write(text + b"\0")

    def get(self) -> Any:
        text = self._memory[:].partition(b"\0")[0]
        return json.loads(text) if text else None


def report_progress(progress: Shared) -> None:
    """Let every batch of training put down how far it is.

    That is [folder, step] of the first batch and of the latest, their number, and the seconds from one to the other.
    """
    from transformers import Trainer

    step, first, number = Trainer.training_step, (None, 0.0), 0

    def training_step(self: Any, *args: Any, **more: Any) -> Any:
        nonlocal first, number
        place, now = [Path(str(self.args.output_dir)).name, self.state.global_step], time.monotonic()
        first, number = (first if number else (place, now)), number + 1
        progress.put([first[0], place, number, now - first[1]])
        return step(self, *args, **more)

    Trainer.training_step = training_step  # type: ignore[method-assign]


def count_operations(run: Path, cache: Path, counts: Shared) -> None:
    """Put down how many of the operations in `PLACES` this process does: area → operation → number."""
    found = {area: dict.fromkeys(operations, 0) for area, operations in PLACES.items()}

    def count(area: str, kind: str, path: str) -> None:
        for operation in (kind, AFTER.get(kind), "inside"):
            if operation in found[area]:
                found[area][operation] += 1
        counts.put(found)

    _listen(run, cache, count)


def place(kill: Kill, run: Path, cache: Path, event: Shared) -> None:
    """Make this process end at the place of a kill, which has an operation."""
    seen, over, renamed = 0, False, ""

    def end(file: str) -> None:
        nonlocal over
        over = True
        event.put(file)
        if kill.operation == "inside":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (kill.size, kill.size))
        elif kill.alone:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            os.killpg(0, signal.SIGKILL)

    def meet(area: str, kind: str, path: str) -> None:
        nonlocal seen, renamed
        if over or area != kill.area or kill.operation not in (kind, AFTER.get(kind), "inside"):
            return
        seen += 1
        if seen == kill.number and kill.operation in AFTER.values():
            renamed = path
        elif seen == kill.number:
            end(path)

    def look() -> None:
        if renamed and not over and not os.path.lexists(renamed):
            end(renamed)

    _listen(run, cache, meet, look)


def _listen(
    run: Path, cache: Path, tell: Callable[[str, str, str], None], look: Callable[[], None] = lambda: None
) -> None:
    """Call `tell` with area, operation and path before each operation of this process in an area.

    Args:
        look: called at all that Python tells of, which is much.
    """
    run, cache = run.resolve(), cache.resolve()

    def hook(name: str, args: tuple[Any, ...]) -> None:
        look()
        if name in EVENTS and (found := _operation(name, args)) and (area := area_of(found[1], run, cache)):
            tell(area, *found)

    sys.addaudithook(hook)


def _operation(name: str, args: tuple[Any, ...]) -> tuple[str, str] | None:
    """Return operation and absolute path of an audit event; None if the event changes no file."""
    path, folder = args[0], -1
    if name == "open":
        mode, flags = args[1:3]
        if not (isinstance(mode, str) and set(mode) & set("wax+")) and not (flags or 0) & WRITES:
            return None
    elif name in REMOVALS:
        folder = args[1] if args[1] is not None else -1
    if not isinstance(path, str | os.PathLike):
        return None
    path = os.fspath(path)
    place = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else os.getcwd()
    path = os.path.join(place, path)
    if name == "os.rename":
        target = os.path.basename(os.fspath(args[1]))
        return ("seal" if target == SEAL else "rename"), path
    if name in REMOVALS:
        return "remove", path
    return None if os.path.basename(path) == LOCK and _begun(path) else ("open", path)  # a resumed run opens its lock


def _begun(lock: str) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(lock), RECORD))
