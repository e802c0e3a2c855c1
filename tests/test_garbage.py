"""Test that objects which tests of one file leave behind are no garbage collector's work in the files after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

IMPORTS_MUCH = """
import sys

def test_leaves_objects_as_an_import_does():
    sys.modules["much"] = [[] for _ in range(200_000)]
"""
COUNTS = """
import gc

def test_has_little_to_collect():
    assert len(gc.get_objects()) < 100_000
"""


def test_what_a_file_imports_is_exempt_from_the_collections_of_later_files(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(IMPORTS_MUCH)
    (tmp_path / "test_b.py").write_text(COUNTS)
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests / "support")])}
    words = ["-q", "-p", "conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
