"""Test that a seal names every change of its folder, and that only the user's own key signs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from bistil_ds.errors import InputError
from bistil_ds.runs.seals import SEAL, Seals, damage, is_signed, read_seal, write_seal

KEY = b"the key of the tests"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a sealed folder with two files."""
    folder = tmp_path / "sealed"
    (folder / "below").mkdir(parents=True)
    (folder / "weights").write_bytes(b"abcd")
    (folder / "below" / "state").write_bytes(b"efgh")
    write_seal(folder, KEY, world_size=2)
    return folder


def rewrite(folder: Path, **changes: Any) -> None:
    (folder / SEAL).write_text(json.dumps({**read_seal(folder), **changes}))


def test_a_seal_lists_sizes_and_hashes_and_is_signed(folder: Path) -> None:
    content = read_seal(folder)
    assert {name: entry["bytes"] for name, entry in content["files"].items()} == {"weights": 4, "below/state": 4}
    assert content["world_size"] == 2
    assert damage(folder) is None
    assert is_signed(folder, KEY)


def test_a_seal_can_be_written_again(folder: Path) -> None:
    (folder / "more").write_bytes(b"")
    (folder / f"{SEAL}.part").write_text("{")  # what a killed process leaves
    write_seal(folder, KEY)
    assert damage(folder) is None
    assert set(read_seal(folder)["files"]) == {"weights", "below/state", "more"}


@pytest.mark.parametrize("content", [b"abcx", b"abc", b"abcde", b""])
def test_changed_bytes_are_named(folder: Path, content: bytes) -> None:
    (folder / "weights").write_bytes(content)
    assert damage(folder) == f"{folder / 'weights'}: not the bytes that were written"


def test_a_file_that_the_disk_no_longer_reads_is_named(folder: Path) -> None:
    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    assert damage(folder, hash_of=fail) == f"{folder / 'weights'}: cannot be read (Input/output error)"


def test_a_missing_file_and_a_file_too_many_are_named(folder: Path) -> None:
    (folder / "below" / "scaler.pt").write_bytes(b"")
    assert damage(folder) == f"{folder / 'below' / 'scaler.pt'}: not a file that was sealed; move it away"
    (folder / "below" / "state").unlink()
    assert "'below/state', which is missing" in str(damage(folder))


def test_hidden_files_count_but_for_those_that_systems_leave(folder: Path) -> None:
    for name in (".nfs0001", ".DS_Store"):
        (folder / "below" / name).write_bytes(b"")
    assert damage(folder) is None
    (folder / "below" / ".x.pt").write_bytes(b"")  # DeepSpeed reads every *.pt of some folders
    assert damage(folder) == f"{folder / 'below' / '.x.pt'}: not a file that was sealed; move it away"


def test_what_an_earlier_seal_knows_is_not_hashed_again(folder: Path) -> None:
    known = read_seal(folder)["files"]
    (folder / "weights").write_bytes(b"changed since")
    (folder / "more").write_bytes(b"new")
    write_seal(folder, known=known)
    assert damage(folder) == f"{folder / 'weights'}: not the bytes that were written"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parent.parent / "elsewhere.json")])
def test_a_seal_that_is_no_plain_file_is_not_opened(folder: Path, make: Any) -> None:
    (folder / SEAL).unlink()
    make(folder / SEAL)
    assert damage(folder) == f"{folder / SEAL}: is no plain file, so it vouches for nothing"


def test_links_are_refused_wherever_they_lead(folder: Path, tmp_path: Path) -> None:
    (folder / "weights").rename(tmp_path / "outside")
    (folder / "weights").symlink_to(tmp_path / "outside")
    assert damage(folder) == f"{folder / 'weights'}: is no plain file"
    (folder / "weights").unlink()
    (tmp_path / "outside").rename(folder / "weights")
    (folder / "below").rename(tmp_path / "below")
    (folder / "below").symlink_to(tmp_path / "below")
    assert "'below/state', which is missing" in str(damage(folder))


def test_a_pipe_is_not_opened(folder: Path) -> None:
    (folder / "weights").unlink()
    os.mkfifo(folder / "weights")
    assert damage(folder) == f"{folder / 'weights'}: is no plain file"


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "below/../weights", "./weights", "", "weights\0"])
def test_names_that_lead_elsewhere_are_never_opened(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_bytes(b"abcd")
    rewrite(folder, files={**read_seal(folder)["files"], name: read_seal(folder)["files"]["weights"]})
    assert "missing from the folder" in str(damage(folder))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"files": {}}',
        '{"files": []}',
        '{"files": {"weights": 1}}',
        '{"files": {"weights": {"bytes": "4", "sha256": "x"}}}',
        '{"files": {"weights": {"bytes": 4}}}',
    ],
)
def test_a_seal_that_vouches_for_nothing_is_none(folder: Path, content: str) -> None:
    (folder / SEAL).write_text(content)
    assert str(folder / SEAL) in str(damage(folder))


def test_a_seal_of_version_0_1_is_read(folder: Path) -> None:
    hashes = {name: entry["sha256"] for name, entry in read_seal(folder)["files"].items()}
    (folder / SEAL).write_text(json.dumps({"world_size": 2, "files": hashes}))
    assert damage(folder) is None
    assert not is_signed(folder, KEY)


def test_another_key_a_changed_seal_and_odd_signatures_are_not_signed(folder: Path) -> None:
    assert not is_signed(folder, b"another key altogether")
    assert not is_signed(folder, None)
    signature = read_seal(folder)["signature"]
    for changes in ({"world_size": 1}, {"signature": None}, {"signature": [signature]}, {"signature": "\u0441\ud800"}):
        rewrite(folder, **changes)
        assert not is_signed(folder, KEY)
        write_seal(folder, KEY, world_size=2)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    return str(tmp_path / "key")


def test_what_a_stranger_sealed_needs_trust(folder: Path, key_file: str) -> None:
    Seals(key_file).check(folder, "start anew")
    write_seal(folder, b"the key of a stranger")
    with pytest.raises(InputError, match=r"not signed with your key.*--trust_checkpoint.*may try to run code"):
        Seals(key_file).check(folder, "start anew")
    Seals(key_file, trust=True).check(folder, "start anew")


def test_trust_does_not_extend_to_damage(folder: Path, key_file: str) -> None:
    (folder / "weights").write_bytes(b"abcx")
    with pytest.raises(InputError, match="weights: not the bytes that were written; start anew"):
        Seals(key_file, trust=True).check(folder, "start anew")


def test_only_where_it_is_trusted_a_folder_may_have_no_seal(folder: Path, key_file: str) -> None:
    (folder / SEAL).unlink()
    Seals(key_file, trust=True).check(folder, "start anew")
    with pytest.raises(InputError, match="not written to its end"):
        Seals(key_file).check(folder, "start anew")
