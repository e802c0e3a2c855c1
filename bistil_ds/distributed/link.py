"""Connections over which the threads that watch the ranks exchange short messages."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from bistil_ds.runs.bounded import parse_json

LONGEST = 1 << 16  # bytes of a message
LOCAL = {"localhost", "127.0.0.1", "::1"}
_open: WeakSet[socket.socket] = WeakSet()  # a forked worker must not hold these open


def listen(address: str) -> socket.socket:
    """Return a socket to which other ranks connect; only those of this host if `address`, rank 0's, is of this host."""
    if address in LOCAL:
        listener = socket.create_server(("127.0.0.1", 0))
    elif socket.has_dualstack_ipv6():
        listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listener = socket.create_server(("", 0))
    _open.add(listener)
    return listener


@dataclass(eq=False)
class Link:
    """A connection over which JSON objects pass, one on a line."""

    connection: socket.socket
    _begun: bytes = b""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        _open.add(self.connection)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; if the other side is gone or does not read, do nothing: `receive` will show it."""
        with self._lock, suppress(OSError):
            self.connection.send((json.dumps(message) + "\n").encode(), socket.MSG_DONTWAIT)

    def receive(self, seconds: float) -> list[dict[str, Any]] | None:
        """Return the messages that have come, after at most `seconds`; None if the connection is closed or garbled."""
        self.connection.settimeout(seconds)
        try:
            found = self.connection.recv(LONGEST)
        except (TimeoutError, BlockingIOError):
            return []
        except OSError:
            return None
        *lines, self._begun = (self._begun + found).split(b"\n")
        if not found or len(self._begun) > LONGEST:
            return None
        try:
            messages = [parse_json(line.decode()) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(message, dict) for message in messages) else None

    def receive_one(self, seconds: float) -> dict[str, Any]:
        """Return the first message; raise OSError if the connection is closed or none comes within `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            messages = self.receive(seconds)
            if messages is None:
                raise ConnectionError("closed")
            if messages:
                return messages[0]
        raise TimeoutError


def _close_in_worker() -> None:
    for one in list(_open):
        one.close()


os.register_at_fork(after_in_child=_close_in_worker)
