"""Where derived files (the sample's model, tokenised corpora) are kept between runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """`$BISTIL_CACHE`, else `~/.cache/bistil_ds`, with `parts` below it; created when missing."""
    root = Path(os.environ.get("BISTIL_CACHE") or Path.home() / ".cache" / "bistil_ds")
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: object) -> str:
    """`hashlib.file_digest` for Python 3.10."""
    sha = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):  # type: ignore[attr-defined]
        sha.update(block)
    return sha.hexdigest()
