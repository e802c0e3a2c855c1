"""Give every test of texts a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the corpora in the test's cache."""
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"
