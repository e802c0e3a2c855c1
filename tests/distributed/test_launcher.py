"""Test that a rank stops when its launcher is gone, and that nothing else counts as a launcher."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any

import psutil
import pytest

from bistil_ds.distributed import launcher

PYTHON, SHELL = "/usr/bin/python3.11", "/bin/bash"
INNER = ["python", "-u", "-m", "deepspeed.launcher.launch", "general.py"]
OUTER = ["python", "/venv/bin/deepspeed", "general.py"]


def rank_of_a_killed_launcher(saves: bool) -> tuple[bytes, float]:
    """Kill a launcher with SIGKILL; return what its rank wrote before it ended, and the seconds until then.

    Args:
        saves: whether the rank handles SIGTERM, as in training, or is kept from it, as by a library that waits.
    """
    heard, tell = os.pipe()
    starter = os.fork()
    if not starter:
        if not os.fork():
            os.environ["RANK"] = "1"
            launcher.SAVING = 5.0 if saves else 0.5
            signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b" saves") and os._exit(0) if saves else None)
            launcher.end_with_launcher.__wrapped__()
            os.write(tell, b"runs")
            while True:
                time.sleep(1)
        time.sleep(60)
        os._exit(0)
    os.close(tell)
    said, until = os.read(heard, 10), time.monotonic() + 20
    os.kill(starter, signal.SIGKILL)
    began = time.monotonic()
    os.waitpid(starter, 0)
    while select.select([heard], [], [], until - time.monotonic())[0]:
        more = os.read(heard, 10)
        if not more:
            return said, time.monotonic() - began
        said += more
    pytest.fail("the rank runs on")


@pytest.mark.parametrize(("saves", "said"), [(True, b"runs saves"), (False, b"runs")])
def test_a_rank_ends_with_its_launcher(saves: bool, said: bytes) -> None:
    found, seconds = rank_of_a_killed_launcher(saves)
    assert found == said
    assert seconds < 10


class Chain:
    """Stand-in for `psutil.Process`: the first of some processes, whose parents the others are."""

    def __init__(self, *processes: tuple[str, list[str]]) -> None:
        self.processes = processes

    def __call__(self) -> Chain:
        return self

    def parent(self) -> Chain | None:
        return Chain(*self.processes[1:]) if self.processes[1:] else None

    def exe(self) -> str:
        return self.processes[0][0]

    def cmdline(self) -> list[str]:
        return self.processes[0][1]


@pytest.mark.parametrize(
    ("above", "found"),
    [
        ([(PYTHON, ["python", "/venv/bin/torchrun", "general.py"]), (SHELL, ["bash"])], 1),
        ([(PYTHON, INNER), (PYTHON, OUTER), (SHELL, ["bash"])], 2),
        ([(PYTHON, INNER), (SHELL, ["bash", "-c", "cd /; deepspeed.launcher.launch"])], 2),  # started by pdsh
        ([(PYTHON, INNER), ("/usr/sbin/sshd", ["sshd: me@notty"])], 1),
        ([(PYTHON, ["python", "my_launcher.py"]), (PYTHON, OUTER)], 1),
        ([(SHELL, ["bash", "-c", "RANK=0 python general.py"])], 0),
        ([("/usr/sbin/slurmstepd", ["slurmstepd: [1.0]"])], 0),
        ([], 0),
    ],
)
def test_which_processes_are_launchers(
    above: list[tuple[str, list[str]]], found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "Process", Chain((PYTHON, ["python", "general.py"]), *above))
    assert len(launcher.find_launchers()) == found


@pytest.mark.parametrize(
    ("variables", "parent", "orphan"),
    [
        ({}, (1, "init"), False),
        ({"TORCHELASTIC_RUN_ID": "none"}, (1, "tini"), True),
        ({"CROSS_RANK": "0"}, (700, "systemd"), True),
        ({"CROSS_RANK": "0"}, (700, "bash"), False),  # a wrapper
    ],
)
def test_a_rank_whose_launcher_ended_at_once_is_an_orphan(
    variables: dict[str, str], parent: tuple[int, str], orphan: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "getppid", lambda: parent[0])
    monkeypatch.setattr(psutil, "Process", lambda _: type("Process", (), {"name": lambda _: parent[1]})())
    assert launcher._is_orphan() == orphan


def test_a_process_that_is_no_rank_does_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("a thread was started")

    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(launcher.threading, "Thread", fail)
    launcher.end_with_launcher.__wrapped__()
