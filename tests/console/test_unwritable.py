"""Test that a full disk and a place that may not be written end a command with one line, wherever that shows."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from bistil_ds.console import cli
from bistil_ds.runs.cache import cache_root


def run(error: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    def fail() -> None:
        raise error

    assert cli.run(fail) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "check its rights"),
        (errno.EACCES, "check its rights"),
    ],
)
def test_the_place_and_the_reason_are_named(number: int, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = "/runs/model [x].safetensors"
    line = run(OSError(number, os.strerror(number), place), capsys)
    assert line == f"error: {place}: {os.strerror(number)}; {advice} or choose another place"


def test_a_full_disk_behind_another_error_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    behind = ValueError("the file was not closed")
    behind.__context__ = full
    assert "a file: No space left on device" in run(behind, capsys)


def test_an_error_that_was_raised_from_none_hides_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    behind = ValueError("a bug")
    behind.__context__ = OSError(errno.ENOSPC, "No space left on device")
    behind.__cause__ = None  # as `from None` does
    with pytest.raises(ValueError, match="a bug"):
        run(behind, capsys)


def test_no_folder_for_temporary_files_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.mkdtemp()
    assert run(caught.value, capsys) == "error: no folder for temporary files can be written; set TMPDIR to one"


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow above 50 kB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: path.write_text("text" * 100_000),
    "torch": lambda path: torch.save(torch.zeros(100_000), path),
    "safetensors": lambda path: save_file({"a": torch.zeros(100_000)}, path),
    "Arrow": lambda path: pq.write_table(pa.table({"a": np.random.default_rng(0).random(100_000)}), path),
}


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_of_files_tells_of_a_full_disk(
    writer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception) as caught:
        WRITERS[writer](tmp_path / "file")
    assert "free some space" in run(caught.value, capsys)


def test_other_errors_keep_their_traceback() -> None:
    for error in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "No such file", "x"), OSError("a model's name")):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)):
            cli.run(fail)


def test_the_flag_of_the_cache_holds_for_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BISTIL_CACHE", "/before")
    monkeypatch.chdir(tmp_path)
    seen = []

    def command() -> None:
        ns = cli.parse(["--cache_dir", "here"], [], "")
        assert "cache_dir" not in ns
        seen.append(cache_root())
        seen.append(Path(subprocess.run([sys.executable, "-c", "import os; print(os.environ['BISTIL_CACHE'])"],
                                        capture_output=True, text=True, check=True).stdout.strip()))  # fmt: skip

    assert cli.run(command) == 0
    assert seen == [tmp_path / "here"] * 2
    assert os.environ["BISTIL_CACHE"] == "/before"
