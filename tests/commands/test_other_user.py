"""Test, as another user for real, that folders which belong to somebody else give one line and keep every byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
from launch import without_bars

from bistil_ds.benchmarking.harness.own_process import InOwnProcess
from bistil_ds.commands import general
from bistil_ds.runs import checkpoints

NOBODY = 65534
AsNobody = Callable[..., tuple[int, list[str]]]  # words of phase 1, environment=value → exit code, lines on stderr
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what another user may do")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Make a folder that every user can enter, with texts, a teacher and a folder of the other user."""
    before = os.umask(0o022)
    folder = Path(tempfile.mkdtemp(prefix="bistil-users-"))
    folder.chmod(0o755)
    tiny.write_texts(folder, 60)
    tiny.write_teacher(folder / "mmt")
    (folder / "mmt" / "model.safetensors").chmod(0o644)
    (folder / "theirs").mkdir()
    os.chown(folder / "theirs", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)
    os.umask(before)


class Users:
    """Run phase 1 as root, which leaves a run with a checkpoint and a cache; then as another user, each time in a fork.

    To be made in a process of its own: threads that other tests have left would be missing in a fork. What the first
    run imports need not be readable for the other user.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        os.umask(0o022)
        os.environ["BISTIL_CACHE"] = str(place / "cache")
        assert general.main(flags(place, place / "run")) == 0

    def run(self, words: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
        """Return the exit code of the other user's run and what it said on stderr."""
        theirs = self.place / "theirs"
        log = theirs / "log"
        log.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            code = 99
            try:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                home = {"HOME": str(theirs), "XDG_CONFIG_HOME": str(theirs / "config")}
                os.environ.update({**home, "BISTIL_CACHE": str(theirs / "cache"), **environment})
                tempfile.tempdir = None
                sys.stderr = log.open("w")
                code = general.main(words)
            except BaseException:  # a fork must not return, and its parent shows what it said
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), without_bars(log.read_text())


@pytest.fixture(scope="module")
def nobody(place: Path) -> Iterator[AsNobody]:
    with InOwnProcess(Users, place) as users:
        yield lambda words, **environment: users.call("run", words, environment)


def flags(place: Path, out: Path) -> list[str]:
    words: list[Any] = ["--teacher_model", place / "mmt", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", place / "aa.txt", "--target_file", place / "bb.txt", "--max_length", 32]
    words += ["--per_device_train_batch_size", 2, "--max_steps", 2, "--eval_steps", 1, "--save_steps", 1]
    return [*map(str, words), "--report_to", "none", "--output_dir", str(out)]


def contents(folder: Path) -> dict[str, str]:
    """Return the path of each file below a folder → hash of its bytes, mode and owner."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about, data = path.lstat(), path.read_bytes() if path.is_file() else b""
        owner = f"{about.st_uid} {stat.filemode(about.st_mode)}"
        found[str(path.relative_to(folder))] = f"{hashlib.sha256(data).hexdigest()} {owner}"
    return found


@contextmanager
def mode_of(path: Path, mode: int) -> Iterator[None]:
    """Give a path another mode while the block runs."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


RESUME = ["--resume_from_checkpoint", "true"]


@pytest.mark.parametrize("resume", [[], RESUME], ids=["start", "resume"])
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o777], ids=oct)
def test_another_users_run_is_refused_in_one_line_and_stays_whole(
    place: Path, nobody: AsNobody, mode: int, resume: list[str]
) -> None:
    run = place / "run"
    run.chmod(mode)
    before = contents(run)
    code, said = nobody([*flags(place, run), *resume])
    errors = [line for line in said if line.startswith("error: ")]
    assert (code, len(errors), len(said)) == (2, 1, 1), said
    assert str(run) in errors[0]
    assert contents(run) == before
    assert checkpoints.broken(run / "checkpoint-2") is None


def test_a_folder_in_which_another_user_may_not_make_one(place: Path, nobody: AsNobody) -> None:
    code, said = nobody(flags(place, place / "new"))
    assert (code, len(said)) == (2, 1), said
    assert f"--output_dir {place / 'new'}" in said[0]
    assert not (place / "new").exists()


def test_another_users_cache_is_read_but_a_closed_one_is_named(place: Path, nobody: AsNobody) -> None:
    cache, out = place / "cache", place / "theirs" / "run"
    before = contents(cache)
    code, said = nobody([*flags(place, out), "--cache_dir", str(cache)])
    assert code == 0, said
    assert contents(cache) == before
    with mode_of(cache, 0o700):
        code, said = nobody([*flags(place, place / "theirs" / "second"), "--cache_dir", str(cache)])
    assert (code, len(said)) == (2, 1), said
    assert str(cache) in said[0]
    assert not (place / "theirs" / "second").exists()


def test_other_texts_in_another_users_cache_ask_for_a_place(place: Path, nobody: AsNobody) -> None:
    tiny.write_texts(place / "theirs", 70)
    texts = str(place / "aa.txt"), str(place / "theirs" / "aa.txt")
    words = [word.replace(*texts) for word in flags(place, place / "theirs" / "third")]
    code, said = nobody(words, BISTIL_CACHE=str(place / "cache"))
    assert (code, len(said)) == (2, 1), said
    assert "name another folder with --cache_dir or BISTIL_CACHE" in said[0]
    assert not (place / "theirs" / "third").exists()


def test_another_user_can_read_a_student_but_no_closed_weights(place: Path, nobody: AsNobody) -> None:
    assert (place / "run" / "model.safetensors").stat().st_mode & 0o777 == 0o644
    weights = place / "mmt" / "model.safetensors"
    with mode_of(weights, 0o600):
        code, said = nobody(flags(place, place / "theirs" / "fifth"))
    assert (code, len(said)) == (2, 1), said
    assert f"{weights}: cannot be read (Permission denied)" in said[0]


def test_places_are_taken_from_the_environment(place: Path, nobody: AsNobody) -> None:
    """XDG_CACHE_HOME where nothing else names a cache, and TMPDIR; both are the other user's own folders."""
    for name in ("caches", "temporary"):
        (place / "theirs" / name).mkdir()
        os.chown(place / "theirs" / name, NOBODY, NOBODY)
    places = {"BISTIL_CACHE": "", "XDG_CACHE_HOME": str(place / "theirs" / "caches")}
    out = place / "theirs" / "fourth"
    code, said = nobody(flags(place, out), **places, TMPDIR=str(place / "theirs" / "temporary"))
    assert code == 0, said
    assert (place / "theirs" / "caches" / "bistil_ds").is_dir()
    assert list((place / "theirs" / "temporary").iterdir()) == []
    assert not (place / "theirs" / ".cache").exists()
