"""Fixtures every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models beside the checkout; the test skips where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "models" / "mini-mmt" / "config.json").is_file():
        pytest.skip(f"no real data and models at {folder}")
    return folder
