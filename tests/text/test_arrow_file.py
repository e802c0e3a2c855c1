"""Test that a damaged file of the cache is made again, with one line, and never read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, Features, Value

from bistil_ds.errors import Notice
from bistil_ds.runs import findings
from bistil_ds.runs.seals import SEAL
from bistil_ds.text import arrow_file
from bistil_ds.text.arrow_file import ARROW, cached_dataset

FEATURES = Features({"text": Value("string")})
TEXTS = ["some", "texts", "of a corpus"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a data set in the cache, as a later process finds it."""
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path))
    assert read(written := [])["text"] == TEXTS
    assert written == ["written"]
    monkeypatch.setattr(findings, "_found", {})
    return tmp_path / "corpora" / "key"


def read(written: list[str]) -> Dataset:
    def write() -> Iterator[pa.RecordBatch]:
        written.append("written")
        yield pa.record_batch([pa.array(TEXTS, pa.string())], schema=FEATURES.arrow_schema)

    return cached_dataset("key", FEATURES, write)


def test_a_whole_file_is_read_as_it_is(folder: Path) -> None:
    assert read(written := [])["text"] == TEXTS
    assert written == []
    assert {path.name for path in folder.parent.iterdir()} == {"key", "key.lock"}


def test_a_process_compares_a_file_with_its_seal_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    damage = arrow_file.damage
    monkeypatch.setattr(arrow_file, "damage", lambda place: compared.append(place) or damage(place))
    for _ in range(3):
        read([])
    assert compared == [folder]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"corpus")] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "flipped": lambda folder: flip(folder / ARROW),
    "truncated": lambda folder: (folder / ARROW).write_bytes((folder / ARROW).read_bytes()[:-9]),
    "empty": lambda folder: (folder / ARROW).write_bytes(b""),
    "something else": lambda folder: (folder / ARROW).write_text("no Arrow"),
    "no seal": lambda folder: (folder / SEAL).unlink(),
    "an empty seal": lambda folder: (folder / SEAL).write_text('{"files": {}}'),
    "a seal that nests": lambda folder: (folder / SEAL).write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_made_again(folder: Path, damage: str) -> None:
    DAMAGES[damage](folder)
    with pytest.warns(Notice, match=f"{folder}/.*; this file of the cache is made again") as lines:
        assert read(written := [])["text"] == TEXTS
    assert written == ["written"]
    assert len({str(line.message) for line in lines}) == 1


def test_a_missing_file_is_made_again_without_a_line(folder: Path) -> None:
    (folder / ARROW).unlink()
    assert read(written := [])["text"] == TEXTS
    assert written == ["written"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path))

    def write() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array(TEXTS, pa.string())], schema=FEATURES.arrow_schema)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_dataset("key", FEATURES, write)
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["key.lock"]


def test_the_file_of_version_0_1_goes(folder: Path) -> None:
    old = folder.with_name("key.arrow")
    old.write_bytes(b"")
    (folder / ARROW).unlink()
    read([])
    assert not old.exists()
