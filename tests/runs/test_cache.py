"""Test where the cache lies, and that a place which cannot be written gives one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Features, Value

from bistil_ds.errors import InputError
from bistil_ds.runs import folder as runs_folder
from bistil_ds.runs.cache import cache_folder, cache_root
from bistil_ds.runs.folder import new_folder
from bistil_ds.sample.cached import cached
from bistil_ds.text.arrow_file import cached_dataset

ADVICE = "name another folder with --cache_dir or BISTIL_CACHE"
FEATURES = Features({"text": Value("string")})


def batches() -> Iterator[pa.RecordBatch]:
    yield pa.record_batch([pa.array(["a"])], schema=FEATURES.arrow_schema)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BISTIL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_cache_lies_where_the_environment_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == home / ".cache" / "bistil_ds"
    for relative in ("", "caches"):  # which the XDG specification tells to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_root() == home / ".cache" / "bistil_ds"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_root() == Path("/caches/bistil_ds")
    monkeypatch.setenv("BISTIL_CACHE", "~/ours")
    assert cache_root() == home / "ours"


def test_a_user_without_home_is_asked_for_a_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(InputError, match=f"no folder for the cache .*{ADVICE}"):
        cache_root()


@pytest.mark.parametrize("in_the_way", ["home", "home/.cache", "home/.cache/bistil_ds/corpora"])
def test_a_cache_that_cannot_be_made_is_named(home: Path, tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / in_the_way).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / in_the_way).write_text("a file\n")
    for refused in (lambda: cache_folder("corpora"), lambda: cached_dataset("key", FEATURES, batches)):
        with pytest.raises(InputError, match=rf"the cache {home}\S* cannot be written \(.*\); {ADVICE}"):
            refused()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_an_error_in_writing_the_cache_gives_one_line_and_leaves_no_file(home: Path, number: int) -> None:
    def write() -> Iterator[pa.RecordBatch]:
        yield from batches()
        raise OSError(number, "No more")

    with pytest.raises(InputError, match=rf"the cache .*corpora cannot be written \(No more\); {ADVICE}"):
        cached_dataset("key", FEATURES, write)
    assert [path.name for path in (home / ".cache" / "bistil_ds" / "corpora").iterdir()] == ["key.lock"]
    assert cached_dataset("key", FEATURES, batches)["text"][:] == ["a"]


def test_what_a_cache_holds_is_read_where_nothing_can_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_dataset("key", FEATURES, batches)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("bistil_ds.text.arrow_file.FileLock", refuse)
    assert cached_dataset("key", FEATURES, batches)["text"][:] == first["text"][:]
    with pytest.raises(InputError, match="Read-only file system"):
        cached_dataset("other", FEATURES, batches)


def test_the_sample_needs_a_cache_that_can_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("bistil_ds.sample.cached.tempfile.mkdtemp", refuse)
    with pytest.raises(
        InputError, match=rf"the cache .*sample.* cannot be written \(Read-only file system\); {ADVICE}"
    ):
        cached("mmt", lambda folder: None)


@pytest.mark.parametrize("exists", [True, False])
def test_an_output_folder_that_cannot_be_written_is_refused_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    folder = tmp_path / "made" / "run"
    if exists:
        folder.mkdir(parents=True)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(runs_folder.tempfile, "TemporaryFile", refuse)
    with (
        pytest.raises(InputError, match=r"--output_dir .*run: cannot be written \(Read-only file system\)"),
        new_folder(folder, explicit=True),
    ):
        pytest.fail("the block ran")
    assert folder.exists() == (tmp_path / "made").exists() == exists
