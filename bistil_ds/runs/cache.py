"""Find the folder that keeps derived files (the sample's model, tokenised corpora) between runs; hash files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError
from bistil_ds.runs.files import writing

ADVICE = "name another folder with --cache_dir or BISTIL_CACHE"


def cache_root() -> Path:
    """Return `$BISTIL_CACHE`, which `--cache_dir` sets, or else `bistil_ds` below `$XDG_CACHE_HOME` or ~/.cache.

    A relative `$XDG_CACHE_HOME` is ignored, as the XDG specification demands.

    Raises:
        InputError: no variable names a folder, and the user has no home folder.
    """
    try:
        if chosen := os.environ.get("BISTIL_CACHE"):
            return user_path(chosen)
        caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (caches if caches.is_absolute() else Path.home() / ".cache") / "bistil_ds"
    except RuntimeError as error:
        raise InputError(f"no folder for the cache ({error}); {ADVICE}") from None


def cache_folder(*parts: str) -> Path:
    """Return the subfolder `parts` of `cache_root`; create it if it is missing.

    Raises:
        InputError: the folder cannot be created.
    """
    folder = cache_root().joinpath(*parts)
    with writing_cache(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def writing_cache(folder: Path) -> Iterator[None]:
    """Run a block that writes to the cache; turn an error of the file system into an InputError that names `folder`."""
    with writing(f"the cache {folder}", ADVICE):
        yield


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
