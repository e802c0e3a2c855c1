"""Hold a run's folder, so that a second run in it is refused in one line that names the first.

A process holds a folder by `flock` on the folder's file `.lock`. The operating system ends the lock with the process,
however that ends, and so does a reboot; over NFS, the server ends the locks of a host that is gone. So a `.lock` that
nobody has locked does not count. What the file says only makes the message: it has one line for each process that
holds the folder. Rank 0 holds the folder alone while it prepares the run, and from then on all ranks hold it together.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil

from bistil_ds.errors import InputError, Notice
from bistil_ds.runs.bounded import parse_json
from bistil_ds.runs.files import writing

LOCK = ".lock"
ADVICE = "choose another folder"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # a file system without locks
PATIENCE = 5.0  # seconds; another process that only looks whether a folder is held locks it for a moment


@dataclass(frozen=True)
class Holder:
    """A process that holds a folder, as one line of `.lock`; `run` is the same in all ranks of a run."""

    run: str
    pid: int
    host: str
    since: str


_held: dict[Path, tuple[int, str]] = {}  # folder → the open file that has the lock, and the run's id


def hold(folder: Path) -> None:
    """Hold an existing folder alone, until `let_go` or the end of the process; do nothing if this process holds it.

    Raises:
        InputError: another process holds the folder, or the lock's file cannot be written.
    """
    place = folder.resolve()
    if place in _held:
        return
    with writing(f"--output_dir {folder}", ADVICE):
        file = _lock(folder)
        if file is None:
            return
        try:
            _note_another_host(place)
            run = uuid4().hex
            os.ftruncate(file, 0)
            _sign(file, run)
        except OSError:
            (place / LOCK).unlink(missing_ok=True)
            os.close(file)
            raise
    _held[place] = file, run


def check_free(folder: Path) -> None:
    """Raise InputError if another process holds the folder, which need not exist."""
    if folder.resolve() in _held:
        return
    try:
        file = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # no such file, or a folder that a run could not use either
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder) from None
    except OSError:
        pass
    finally:
        os.close(file)


def share(folder: Path) -> str | None:
    """Let other ranks hold a folder together with this process; return what they give to `join`.

    None means that this process does not hold the folder, because the file system has no locks.

    Raises:
        InputError: another run has taken the folder in this moment.
    """
    place = folder.resolve()
    if place not in _held:
        return None
    file, run = _held[place]
    _wait_for_share(file, folder)
    return run


def join(folder: Path, run: str) -> None:
    """Hold a folder together with the rank that has shared it.

    Args:
        run: what `share` returned there.

    Raises:
        InputError: this rank sees another folder under this name, or cannot write the lock's file.
    """
    place = folder.resolve()
    try:
        file = os.open(place / LOCK, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        raise _not_shared(folder) from None
    except OSError as error:
        raise InputError(f"--output_dir {folder}: cannot be written on {_host()} ({error.strerror})") from None
    _held[place] = file, run
    _wait_for_share(file, folder)
    if run not in {one.run for one in _holders(place)}:
        raise _not_shared(folder)
    with writing(f"--output_dir {folder}", ADVICE):
        _sign(file, run)


def let_go(folder: Path) -> None:
    """Stop holding a folder; the last process of a run that does so removes the lock's file."""
    place = folder.resolve()
    file, _ = _held.pop(place, (None, ""))
    if file is None:
        return
    with suppress(OSError):  # another rank still holds the folder, or it is gone
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file, place / LOCK):
            (place / LOCK).unlink()
    os.close(file)


def let_go_of_all() -> None:
    """Stop holding every folder that this process holds."""
    for place in list(_held):
        let_go(place)


def _lock(folder: Path) -> int | None:
    """Return an open file that has the lock alone; None, with a Notice, if the file system has no locks."""
    while True:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, folder / LOCK):
                return file
            os.close(file)  # a run that ended has just removed this file; lock the new one
        except BlockingIOError:
            os.close(file)
            raise _in_use(folder) from None
        except OSError as error:
            os.close(file)
            if error.errno not in NO_LOCKS:
                raise
            (folder / LOCK).unlink(missing_ok=True)
            warnings.warn(f"{folder}: a disk without locks, so a second run in it is not noticed", Notice, stacklevel=3)
            return None


def _wait_for_share(file: int, folder: Path) -> None:
    """Turn this process's lock into one that other ranks may have, too.

    Raises:
        InputError: another run has the lock.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise _in_use(folder) from None
            time.sleep(0.05)


def _sign(file: int, run: str) -> None:
    me = Holder(run, os.getpid(), _host(), datetime.now(UTC).isoformat(" ", "seconds"))
    os.write(file, (json.dumps(asdict(me)) + "\n").encode())


def _holders(folder: Path) -> list[Holder]:
    """Return what `.lock` says, without lines that cannot be read: a process may be writing one."""
    found = []
    with suppress(OSError):
        for line in (folder / LOCK).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                found.append(Holder(**parse_json(line)))
    return found


def _in_use(folder: Path) -> InputError:
    """Return the error that names who holds a folder: of this host's processes, those that are alive."""
    signed = _holders(folder)
    alive = [one for one in signed if one.host == _host() and psutil.pid_exists(one.pid)]
    named = alive or signed[:1]
    who = "another run"
    if named:
        pids = ", ".join(str(one.pid) for one in named)
        who += f" (pid {pids} on {named[0].host}, since {named[0].since})"
    return InputError(f"--output_dir {folder}: in use by {who}; wait until it ends, or {ADVICE}")


def _not_shared(folder: Path) -> InputError:
    return InputError(f"--output_dir {folder}: not the folder that rank 0 prepared, as {_host()} sees it; share it")


def _note_another_host(folder: Path) -> None:
    """Say so if the last run in the folder, whose rank 0 has not let go of it, was on another host."""
    for last in _holders(folder)[:1]:
        if last.host == _host():
            return
        words = f"used by pid {last.pid} on {last.host} since {last.since}; its lock is gone, so it counts as dead"
        warnings.warn(f"{folder}: {words}", Notice, stacklevel=4)


def _host() -> str:
    return socket.gethostname()


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is the one at `path` now."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _forget() -> None:
    """Close, in a forked worker, the files that its parent has locked; otherwise it would hold them on."""
    for file, _ in _held.values():
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
