"""Judge, from what is known of each rank, whether the run must end and because of which rank."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

RUNS, LEFT, FAILED, WAITED, GONE, HANGS = "runs", "left", "failed", "waited", "gone", "hangs"
SILENCE = 0.8  # shares of the limit: after so much silence a rank counts as hung,
EXCHANGE = 0.85  # and so long may an exchange between ranks last;
GRACE = 0.1  # ranks that wait in the same exchange give up within this share of each other
TOGETHER = 2.0  # seconds within which ranks fail by themselves if all of them fail


@dataclass
class Peer:
    """What is known of a rank.

    Attributes:
        rank, host, pid: which process it is.
        heard: when it last gave a sign of life, in seconds.
        state: RUNS; LEFT (it has ended the run); FAILED (it raised an error); WAITED (it waited in vain for others in
            an exchange); GONE (its connection is closed, though it has not left).
        since: when it came into this state, in seconds.
        words: its error, if it failed.
    """

    rank: int
    host: str
    pid: int
    heard: float
    state: str = RUNS
    since: float = 0.0
    words: str = ""

    def becomes(self, state: str, now: float, words: str = "") -> None:
        self.state, self.since, self.words = state, now, words


@dataclass(frozen=True)
class Verdict:
    """Which rank ends the run, and why; `state` is GONE, FAILED or HANGS."""

    rank: int
    host: str
    pid: int
    state: str
    why: str

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} (pid {self.pid}) {self.why}"

    def as_message(self) -> dict[str, Any]:
        """Return the verdict as JSON values, from which `Verdict(**values)` makes it again."""
        return asdict(self)


def judge(peers: Iterable[Peer], now: float, limit: float, gone_after: float = 0.0) -> Verdict | None:
    """Return the verdict on a run; None if the run goes on.

    Args:
        peers: the ranks.
        now: the time, in seconds.
        limit: seconds within which a rank that hangs must be found.
        gone_after: seconds after which a rank that is gone ends the run.
    """
    peers = list(peers)
    for peer in peers:
        if peer.state == GONE and now - peer.since >= gone_after:
            return _verdict(peer, GONE, "is gone: it was killed, or its host is down")
        if peer.state == FAILED and now - peer.since >= TOGETHER:
            return _verdict(peer, FAILED, f"failed: {peer.words}")
        if peer.state in (RUNS, WAITED) and now - peer.heard > SILENCE * limit:
            why = f"has given no sign of life for {now - peer.heard:.0f} s: it hangs, or its host cannot be reached"
            return _verdict(peer, HANGS, why)
    waiting = [peer.since for peer in peers if peer.state == WAITED]
    late = [peer for peer in peers if peer.state == RUNS]
    if waiting and late and now - min(waiting) > GRACE * limit:
        return _verdict(late[0], HANGS, f"hangs: other ranks have waited {EXCHANGE * limit:.0f} s for it")
    return None


def _verdict(peer: Peer, state: str, why: str) -> Verdict:
    return Verdict(peer.rank, peer.host, peer.pid, state, why)
