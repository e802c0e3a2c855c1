"""Test that no training text of ../shared holds a sentence of the FLORES devtest, on which students are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

LANGUAGES = ("ar", "de", "en", "es", "fi", "fo", "ha", "hi", "ig", "mt", "tr", "vi", "wo", "yo")


def bare(line: str) -> str:
    """Return a line's letters and digits alone, in lower case, so that quotes and spaces make no difference."""
    return "".join(filter(str.isalnum, line.lower()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_line_of_the_devtest_is_trained_on(shared: Path, language: str) -> None:
    text = shared / "data" / "text"
    with open(text / "parallel" / f"flores200_devtest.{language}.txt", encoding="utf-8") as lines:
        held_out = set(map(bare, lines))
    with open(text / f"{language}.txt", encoding="utf-8") as lines:
        trained_on = set(map(bare, lines))
    assert len(held_out) > 1000
    assert not held_out & trained_on
