"""Test that a large file is read once as long as it does not change, and that its hash is always that of its bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from bistil_ds.runs import findings


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list to which each file is added that is read."""
    files: list[Path] = []
    monkeypatch.setattr(findings, "_found", {})
    whole = findings.file_hash
    monkeypatch.setattr(findings, "file_hash", lambda path: files.append(path) or whole(path))
    return files


def write(path: Path, content: bytes, seconds: float) -> None:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_that_has_not_changed_is_read_once(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "text"
    write(path, b"one", 1e9)
    assert {findings.hash_once(path) for _ in range(3)} == {sha256(b"one")}
    assert read == [path]
    write(path, b"two", 1.1e9)
    assert findings.hash_once(path) == sha256(b"two")


def test_a_file_that_has_just_changed_is_read_again(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one")
    now = path.stat().st_mtime
    assert findings.hash_once(path) == sha256(b"one")
    write(path, b"two", now)  # within one tick of the file system's clock
    assert findings.hash_once(path) == sha256(b"two")
