"""Test that a folder is one run's at a time, as long as any process of that run lives and no longer."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bistil_ds.errors import InputError, Notice
from bistil_ds.runs import holding
from bistil_ds.runs.folder import new_folder, remove_refused, run_folder
from bistil_ds.runs.holding import LOCK, check_free, hold, join, let_go, let_go_of_all, share

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def free() -> Iterator[None]:
    yield
    let_go_of_all()


@contextmanager
def process(does: Callable[[], object]) -> Iterator[int]:
    """Run a function in a process of its own, which then waits to be killed; yield its id once the function is done."""
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            does()
            os.write(tell, b"ready")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(ready, 5) == b"ready"
    os.close(ready)
    yield child
    kill(child)


def kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):  # killed already
        pass


def test_a_second_run_is_refused_in_a_line_that_names_the_first(tmp_path: Path) -> None:
    line = rf"--output_dir .*: in use by another run \(pid {{}} on {HERE}, since 20\d\d-.*\+00:00\); wait until it ends"
    with process(lambda: hold(tmp_path)) as first:
        for second in (lambda: hold(tmp_path), lambda: check_free(tmp_path)):
            with pytest.raises(InputError, match=line.format(first)):
                second()
        for resume in (None, "true", "checkpoint-4"):
            with pytest.raises(InputError, match=line.format(first)):
                run_folder(str(tmp_path), "general", resume)
    hold(tmp_path)


def test_a_lock_whose_process_is_dead_does_not_count(tmp_path: Path) -> None:
    with process(lambda: hold(tmp_path)):
        pass
    assert (tmp_path / LOCK).stat().st_size
    assert run_folder(str(tmp_path), "general", None) == tmp_path
    with new_folder(tmp_path, explicit=True):
        assert [one.pid for one in holding._holders(tmp_path)] == [os.getpid()]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_host_counts_as_long_as_it_is_locked(tmp_path: Path) -> None:
    line = {"run": "1", "pid": 1, "host": "elsewhere", "since": "2020-01-01 00:00:00 UTC"}

    def elsewhere() -> None:
        hold(tmp_path)
        (tmp_path / LOCK).write_text(json.dumps(line) + "\n")

    with process(elsewhere), pytest.raises(InputError, match=r"\(pid 1 on elsewhere, since 2020-01-01 00:00:00 UTC\)"):
        hold(tmp_path)
    with pytest.warns(Notice, match="used by pid 1 on elsewhere since 2020.*; its lock is gone, so it counts"):
        hold(tmp_path)


def test_ranks_that_are_left_over_keep_the_folder_held(tmp_path: Path) -> None:
    (tmp_path / "id").mkdir()

    def first() -> None:
        hold(tmp_path)
        (tmp_path / "id" / str(share(tmp_path))).touch()

    with process(first) as rank_0:
        run = next((tmp_path / "id").iterdir()).name
        with process(lambda: join(tmp_path, run)) as rank_1:
            with pytest.raises(InputError, match=rf"\(pid {rank_0}, {rank_1} on"):
                hold(tmp_path)
            kill(rank_0)
            with pytest.raises(InputError, match=rf"\(pid {rank_1} on"):
                hold(tmp_path)
    hold(tmp_path)


def test_the_last_rank_to_leave_removes_the_file(tmp_path: Path) -> None:
    hold(tmp_path)
    run = share(tmp_path)
    assert run is not None
    with process(lambda: join(tmp_path, run)):
        let_go(tmp_path)
        assert (tmp_path / LOCK).exists()
    hold(tmp_path)
    let_go(tmp_path)
    assert not (tmp_path / LOCK).exists()
    let_go(tmp_path)


def test_a_rank_that_sees_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"not the folder that rank 0 prepared, as {HERE} sees it"):
        join(tmp_path, "1")
    (tmp_path / LOCK).write_text('{"run": "2", "pid": 1, "host": "b", "since": ""}\n{"half')
    with pytest.raises(InputError, match="not the folder that rank 0 prepared"):
        join(tmp_path, "1")


def test_a_worker_that_outlives_its_run_does_not_hold_the_folder(tmp_path: Path) -> None:
    worker_id = tmp_path / "worker"

    def with_worker() -> None:
        hold(tmp_path)
        worker = os.fork()
        if not worker:
            time.sleep(60)
            os._exit(0)
        worker_id.write_text(str(worker))

    with process(with_worker), pytest.raises(InputError, match="in use"):
        hold(tmp_path)
    hold(tmp_path)
    os.kill(int(worker_id.read_text()), signal.SIGKILL)


def test_a_run_that_begins_while_another_reads_its_data_keeps_the_folder(tmp_path: Path) -> None:
    assert run_folder(str(tmp_path), "general", "true") == tmp_path
    (tmp_path / "run.json").write_text("{}")  # begun and ended meanwhile
    with pytest.raises(InputError, match="another run has begun in it"), new_folder(tmp_path, explicit=True):
        pytest.fail("the block ran")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("stays_held", [True, False])
def test_a_new_folder_may_stay_held(tmp_path: Path, stays_held: bool) -> None:
    with new_folder(tmp_path / "run", explicit=True, stays_held=stays_held) as folder:
        assert (folder / LOCK).is_file()
    assert (folder / LOCK).is_file() == stays_held
    remove_refused(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(holding.fcntl, "flock", refuse)
    with pytest.warns(Notice, match="a disk without locks, so a second run in it is not noticed"):
        hold(tmp_path)
    assert share(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "number", "reason"),
    [("write", errno.ENOSPC, "No space left on device"), ("open", errno.EACCES, "Permission denied")],
)
def test_a_lock_that_cannot_be_written_gives_one_line_and_leaves_nothing(
    call: str, number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, reason)

    with monkeypatch.context() as patched:
        patched.setattr(holding.os, call, refuse)
        with pytest.raises(InputError, match=rf"--output_dir .* cannot be written \({reason}\); choose another folder"):
            hold(tmp_path)
    assert list(tmp_path.iterdir()) == []
    hold(tmp_path)
