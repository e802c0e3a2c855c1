"""Quiet models: every load would report the head that is new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import material
import pytest
from transformers.utils import logging


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny base model."""
    return material.write_base(tmp_path_factory.mktemp("base") / "model")
