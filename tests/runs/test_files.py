"""Test that files are replaced whole, and that JSON which cannot be used is refused in one line."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json, remove_half_written, replace_when_written, write_whole


def test_the_earlier_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replace_when_written(path) as part:
        part.write_bytes(b"ne")
        assert path.read_bytes() == b"old"
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_earlier_file_and_no_half(tmp_path: Path, error: type[BaseException]) -> None:
    write_whole(tmp_path / "a.txt", "old ä\n")

    def fail() -> None:
        with replace_when_written(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == "old ä\n".encode()


def test_the_half_of_a_killed_writer_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt.part").write_text("half of a longer text")
    write_whole(tmp_path / "a.txt", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "new")]


BAD = {
    "empty": (b"", "not JSON (Expecting value"),
    "cut": (b'{"a": 1', "not JSON"),
    "deep": (b"[" * 200_000, "not JSON"),
    "Latin-1": ('{"a": "é"}'.encode("latin-1"), "cannot be read"),
    "infinite": (b'{"a": 1e400}', "not JSON (1e400 where a number is expected"),
    "NaN": (b'{"a": NaN}', "not JSON (NaN where"),
    "a list": (b"[1]", "expected a JSON object, found a list"),
    "another key": (b'{"b": 1}', 'has no "a"'),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_refused_in_one_line_with_advice(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path, "do this", keys=("a",), flag="--file")
    assert str(caught.value).startswith(f"--file {path}: {reason}")
    assert str(caught.value).endswith("; do this")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.json: no such file; do this"):
        read_json(tmp_path / "x.json", "do this")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path, "do this")


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"^--file .*x\.json is larger than 64 MiB, .*; do this$"):
        read_json(tmp_path / "x.json", "do this", flag="--file")


def test_numbers_that_are_not_finite_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": Infinity}')
    assert read_json(tmp_path / "x.json", "", finite=False) == {"a": float("inf")}


def test_an_object_is_returned_whole(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1, "b": "ä"}', encoding="utf-8")
    assert read_json(tmp_path / "x.json", "", keys=("a",)) == {"a": 1, "b": "ä"}


def test_what_safetensors_leaves_when_it_is_killed_is_removed(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(10_000)}
    writer = os.fork()
    if not writer:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel ends the process in the middle of the file
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
        save_file(weights, tmp_path / "model.safetensors")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGXFSZ
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1
    remove_half_written(tmp_path)
    assert not list(tmp_path.iterdir()) or left == ["model.safetensors"]  # which the next writer replaces
