"""Find the folder that keeps derived files (the sample's model, tokenised corpora) between runs; hash files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """Return the folder `parts` below `$BISTIL_CACHE`, else below `~/.cache/bistil_ds`; create it when missing."""
    root = Path(os.environ.get("BISTIL_CACHE") or Path.home() / ".cache" / "bistil_ds")
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
