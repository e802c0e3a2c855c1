"""Fixtures of export tests: a made-up student and made-up sparse fine-tunings (SFTs) of it, which no test changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from export_folders import write_student, write_task_sft


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("models") / "en-ha")


@pytest.fixture(scope="session")
def ner(student: Path) -> Path:
    return write_task_sft(student.parent / "ner sft", student, "ner")


@pytest.fixture(scope="session")
def sft(student: Path) -> Path:
    return write_task_sft(student.parent / "ner-sft", student, "ner", licence="cc-by-4.0")
