"""Let the ranks of a run watch each other, so that one that dies or hangs ends the run by a line that names it.

Each rank has a thread with a connection to rank 0's thread, over which both give a sign of life several times in each
`limit`. A process that dies closes its connection; one that is stopped, or whose host or network is gone, is silent. A
rank whose threads live but whose training hangs is found by the others: their exchanges with it time out, they say so,
and it does not. The thread that finds a rank lost ends its own process, because the training may wait for that rank
inside of a library for ever.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import torch.distributed as dist

from bistil_ds.console.terminal import say
from bistil_ds.console.untrusted import one_line
from bistil_ds.distributed import startup
from bistil_ds.distributed.link import Link, listen
from bistil_ds.distributed.verdict import (
    FAILED,
    GONE,
    GRACE,
    HANGS,
    LEFT,
    RUNS,
    SILENCE,
    TOGETHER,
    WAITED,
    Peer,
    Verdict,
    judge,
)
from bistil_ds.errors import InputError, NonFiniteError, OtherRankError, ProductError

KEY = "bistil_watch"  # of rank 0's address in the store
# Errors that all ranks raise, or rank 0 reports. Before the ranks have met, another rank has its errors to itself.
KNOWN = InputError, NonFiniteError, OtherRankError, ProductError
BUILDING = 0.5  # share of the limit for which a dead rank waits for rank 0, which may be ending its preparation


class Watch:
    """This rank's part in the watch. A subclass exchanges messages; both need no help of the main thread.

    Args:
        limit: seconds within which a rank that hangs ends the run.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.interval = limit, min(5.0, limit / 20)
        self.rank, self.host, self.pid = startup.rank(), socket.gethostname(), os.getpid()
        self.building = True  # rank 0 prepares; the others wait for it
        self._over, self._known, self._failing = threading.Event(), threading.Event(), False
        self._ending = False  # the thread is about to end this process
        self._ticked = time.monotonic()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def leave(self) -> None:
        """End the watch of this rank: it has finished its run, or ends it by an error that all ranks know."""
        if not self._over.is_set():
            self._over.set()
            self.tell(LEFT)

    def report(self, error: Exception) -> None:
        """Tell the others of an error that only this rank may have; return when they know, if this process still runs.

        If the error is that of an exchange with a lost rank, this process ends by the line that names that rank.

        Raises:
            OtherRankError: an exchange failed, but no rank is lost.
        """
        lost, words = _is_of_exchange(error), one_line(f"{type(error).__name__}: {error}")
        self._failing = not lost
        self.tell(WAITED if lost else FAILED, words[:500])
        self._known.wait(2 * GRACE * self.limit + 2 * self.interval if lost else 2 * TOGETHER)
        if self._ending:
            time.sleep(self.limit)
        if lost:
            where = f"rank {self.rank} on {self.host}"
            raise OtherRankError(f"{where}: an exchange failed, though every rank lives: {words}") from None

    def tell(self, state: str, words: str = "") -> None:
        """Tell the others this rank's state."""
        raise NotImplementedError

    def _run(self) -> None:
        raise NotImplementedError

    def _forgiven(self, now: float) -> bool:
        """Return whether this process itself was stopped for a while, so that the silence of others means nothing."""
        paused, self._ticked = now - self._ticked, now
        return paused > SILENCE * self.limit / 2

    def _end(self, verdict: Verdict) -> None:
        """End this process because of a verdict, unless its main thread ends it by an error of its own."""
        if self._failing:
            self._known.set()
        if self._failing or self._over.is_set():
            return
        if verdict.state == HANGS and verdict.host == self.host and verdict.pid != self.pid:
            _kill(verdict.pid)
        self._ending = True
        if self._speaks(verdict):
            say(f"error: {verdict}", error=True)
        time.sleep(self.interval if self.rank else 1.0)  # a launcher kills all ranks as soon as one ends
        os._exit(1)

    def _speaks(self, verdict: Verdict) -> bool:
        """Return whether this rank says the verdict: rank 0 does or, if rank 0 is lost, the first rank of each host.

        If rank 0 failed, nobody does: it has said so itself.
        """
        if verdict.rank:
            return self.rank == 0
        first = self.rank == 1 or os.environ.get("LOCAL_RANK") == "0"
        return first and self.rank != 0 and verdict.state != FAILED


class Follower(Watch):
    """The watch of a rank other than 0: it talks with rank 0 only."""

    def __init__(self, limit: float, address: list[Any]) -> None:
        super().__init__(limit)
        host, port, token = address
        try:
            self._link = Link(socket.create_connection((host, port), timeout=limit))
            self._link.send({"token": token, "rank": self.rank, "host": self.host, "pid": self.pid})
            first = self._link.receive_one(limit)
        except OSError as error:
            where = f"rank {self.rank} on {self.host}"
            raise OtherRankError(f"{where}: cannot reach rank 0 at {host}, port {port}: {error}") from None
        self._rank_0 = Peer(0, first["host"], first["pid"], time.monotonic())

    def tell(self, state: str, words: str = "") -> None:
        self._link.send({"state": state, "words": words})

    def _run(self) -> None:
        while not self._over.is_set():
            self._link.send({})
            messages = self._link.receive(self.interval)
            now = time.monotonic()
            if self._forgiven(now) or messages:
                self._rank_0.heard = now
            for message in messages or ():
                if message.get("state") == LEFT:
                    return self._abandoned()
                if "rank" in message:
                    self._end(Verdict(**message))
            if messages is None:
                self._rank_0.becomes(GONE, now)
            if verdict := judge([self._rank_0], now, self.limit):
                return self._end(verdict)

    def _abandoned(self) -> None:
        """End this process if rank 0 ended the run before the ranks met: this one would wait for it for ever."""
        if self.building:
            time.sleep(min(60.0, self.limit))  # rank 0's exit code is the run's
            if self.building and not self._over.is_set():
                os._exit(1)


class Leader(Watch):
    """Rank 0's watch: it listens to all ranks, judges, and passes its verdict on."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self._listener = listen(os.environ["MASTER_ADDR"])
        self._token = secrets.token_hex(8)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers = {0: Peer(0, self.host, self.pid, time.monotonic())}
        self._links: dict[Link, Peer | None] = {}
        self._lock = threading.Lock()

    @property
    def address(self) -> list[Any]:
        """Where the other ranks find this one: host, port, and a token by which it knows them."""
        return [os.environ["MASTER_ADDR"], self._listener.getsockname()[1], self._token]

    def tell(self, state: str, words: str = "") -> None:
        with self._lock:
            self._peers[0].becomes(state, time.monotonic(), words)
            if state == LEFT:
                self._send_all({"state": LEFT})

    def _run(self) -> None:
        due = 0.0
        while not self._over.is_set():
            for key, _ in self._selector.select(min(self.interval, 0.5)):
                self._accept() if key.data is None else self._hear(key.data)
            now = time.monotonic()
            with self._lock:
                self._peers[0].heard = now
                if self._forgiven(now):
                    for peer in self._peers.values():
                        peer.heard = now
                if now >= due:
                    self._send_all({})
                    due = now + self.interval
                verdict = judge(self._peers.values(), now, self.limit, BUILDING * self.limit if self.building else 0)
                if verdict is not None:
                    self._send_all(verdict.as_message())
            if verdict is not None:
                return self._end(verdict)

    def _accept(self) -> None:
        with suppress(OSError):  # given up by the other side
            link = Link(self._listener.accept()[0])
            with self._lock:
                self._links[link] = None
            self._selector.register(link.connection, selectors.EVENT_READ, link)

    def _hear(self, link: Link) -> None:
        messages, now = link.receive(0), time.monotonic()
        with self._lock:
            peer = self._links[link]
            for message in messages or ():
                if peer is None:
                    if message.get("token") != self._token:
                        messages = None
                        break
                    peer = self._links[link] = Peer(message["rank"], message["host"], message["pid"], now)
                    self._peers[peer.rank] = peer
                    link.send({"host": self.host, "pid": self.pid})
                elif "state" in message:
                    peer.becomes(message["state"], now, message["words"])
            if peer is not None:
                peer.heard = now
            if messages is None:
                del self._links[link]
                self._selector.unregister(link.connection)
                link.connection.close()
                if peer is not None and peer.state in (RUNS, WAITED):
                    peer.becomes(GONE, now)

    def _send_all(self, message: dict[str, Any]) -> None:
        for link, peer in self._links.items():
            if peer is not None:  # it has said who it is, and expects an answer to that first
                link.send(message)


def _is_of_exchange(error: Exception) -> bool:
    """Return whether an error may come from an exchange in which another rank took no part."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _kill(pid: int) -> None:
    """End a rank of this host that hangs: its launcher could not, and it would hold its memory and its folder."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.ppid() == os.getppid():  # as the ranks of one launcher, so no other process with this number
            process.kill()


@contextmanager
def watching(limit: float) -> Iterator[Watch | None]:
    """Watch the ranks of a run while the block runs; yield None if there is only one. Every rank must come here.

    An error in the block that the other ranks may not have is reported to them.

    Raises:
        OtherRankError: rank 0 cannot be reached, or an exchange between the ranks failed.
    """
    if startup.world_size() == 1 or "RANK" not in os.environ:
        yield None
        return
    leader = Leader(limit) if startup.rank() == 0 else None
    address = startup.from_rank_0_early(KEY, leader.address if leader else None)
    watch = leader or Follower(limit, address)
    watch.start()
    try:
        yield watch
    except Exception as error:
        if not isinstance(error, KNOWN) or (watch.building and leader is None):
            watch.report(error)
        raise
    finally:
        watch.leave()
