"""Sizes of folders on disk."""

from __future__ import annotations

from pathlib import Path


def tree_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder and in the folders below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
