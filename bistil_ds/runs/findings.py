"""Remember what reading a large file whole has shown, so that one rank reads it once.

A finding holds while the file's size, inode and time of last change stay the same. Rank 0 passes its findings on to the
other ranks (`bistil_ds.distributed.run_on_ranks`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from bistil_ds.runs.cache import file_hash

SETTLED = 2 * 10**9  # nanoseconds without a change; two changes in a shorter time may have the same time stamp

State = tuple[str, str, int, int, int]
_found: dict[State, str] = {}


def hash_once(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex; a file that has not changed since the last call is not read."""
    found = recall("hash", path)
    if found is None:
        found = file_hash(path)
        if time.time_ns() - os.stat(path).st_mtime_ns > SETTLED:
            remember("hash", path, found)
    return found


def recall(kind: str, path: Path) -> str | None:
    """Return what was remembered about a file as it is now; None if there is nothing."""
    return _found.get(_state(kind, path))


def remember(kind: str, path: Path, found: str) -> None:
    """Remember a finding about a file as it is now."""
    _found[_state(kind, path)] = found


def known() -> dict[State, str]:
    """Return everything that this process remembers, to pass it on."""
    return dict(_found)


def learn(found: Mapping[State, str]) -> None:
    """Remember what another process has found."""
    _found.update(found)


def _state(kind: str, path: Path) -> State:
    now = os.stat(path)
    return kind, os.path.abspath(path), now.st_size, now.st_mtime_ns, now.st_ino
