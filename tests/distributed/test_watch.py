"""Test that a rank which dies, stops, hangs or fails ends the run in time, by a line that names rank and host."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from typing import Any

import pytest
from launch import PROGRAMS, python_path

from bistil_ds.distributed.link import Link, listen
from bistil_ds.distributed.verdict import HANGS, Verdict
from bistil_ds.distributed.watch import Watch

LIMIT = 6.0
SLACK = 30.0  # seconds until the ranks have met, and for a busy machine
SILENT, GONE = "has given no sign of life for .* s: it hangs", "is gone: it was killed"
UNSEEN = "not started within 6 s"
LATE, FAILED = "hangs: other ranks have waited .* s for it", "failed: ValueError: no such layer"
# What happens → the rank that the line names and what it says of it; None where nothing may end the run.
FAULTS: dict[str, tuple[int, str] | None] = {
    "1 stops": (1, SILENT),
    "0 stops": (0, SILENT),
    "1 stops early": (1, SILENT),  # while rank 0 prepares
    "1 never starts": (1, UNSEEN),
    "1 dies": (1, GONE),
    "0 dies": (0, GONE),
    "1 sleeps": (1, LATE),
    "0 sleeps": (0, LATE),
    "1 raises": (1, FAILED),
    "0 raises": (0, FAILED),
    "1 sees one GPU": (1, "failed: InputError: LOCAL_RANK 1: this rank sees 1 GPU; let each rank see all GPUs"),
    "0 prepares long": None,
    "0 saves long": None,
    "all run twice": None,
    "all pauses": None,  # all ranks are stopped, and go on, as by `scontrol suspend`
}


@pytest.fixture(scope="module")
def ended() -> dict[str, list[Any]]:
    words = [sys.executable, str(PROGRAMS / "faulty_ranks.py"), str(LIMIT), *FAULTS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()}
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_rank_ends_the_run_by_a_line_that_names_it(fault: str, ended: dict[str, list[Any]]) -> None:
    codes, seconds, said = zip(*ended[fault], strict=True)
    named = FAULTS[fault]
    if named is None:
        assert (codes, said) == ((0, 0), ("", ""))
        return
    rank, words = named
    other = said[1 - rank]
    assert 0 not in codes
    assert seconds[1 - rank] < LIMIT + SLACK
    if words == FAILED and rank == 0:  # its own traceback says it all
        assert other == ""
    elif words == UNSEEN:
        assert other.splitlines()[-1].startswith(f"error: rank {rank}: {words}")  # torch warns first
    else:
        assert re.fullmatch(rf"error: rank {rank} on {socket.gethostname()} \(pid \d+\) {words}.*\n", other)
    assert ("ValueError: no such layer" in said[rank]) == (words == FAILED)
    assert "Traceback" not in other


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b"x" * 200_000, b""])
def test_a_stranger_is_taken_for_a_closed_connection(sent: bytes) -> None:
    with listen("127.0.0.1") as listener, socket.create_connection(listener.getsockname()) as stranger:
        link = Link(listener.accept()[0])
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        while (messages := link.receive(5)) == []:
            pass
        assert messages is None


@pytest.mark.parametrize(
    ("rank", "local", "lost", "speaks"),
    [(0, 0, 2, True), (1, 1, 2, False), (1, 1, 0, True), (2, 0, 0, True), (3, 1, 0, False), (2, 0, 3, False)],
)
def test_every_host_is_told_of_the_loss_of_rank_0(
    rank: int, local: int, lost: int, speaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks 0 and 1 are on one host, 2 and 3 on another, which may have lost the link to the first."""
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(local))
    verdict = Verdict(lost, "node-a", 1, HANGS, "hangs")
    assert Watch(20.0)._speaks(verdict) is speaks
