"""Fixtures: tiny sentence encoders and the three kinds of test sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_models import write_embedder, write_test_sets


@pytest.fixture(scope="session")
def embedders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a teacher, a student of half its layers, and one of half its width, too."""
    folder = tmp_path_factory.mktemp("embedders")
    return {
        "teacher": write_embedder(folder / "teacher", layers=2),
        "student": write_embedder(folder / "student", layers=1),
        "narrow": write_embedder(folder / "narrow", layers=1, hidden_size=16),
    }


@pytest.fixture(scope="session")
def test_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the test sets of all three kinds, as `--test_file` takes them."""
    return write_test_sets(tmp_path_factory.mktemp("test_sets"))
