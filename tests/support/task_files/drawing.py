"""Words to draw files of, and the blocks of lines that files consist of."""

from __future__ import annotations

import re
from random import Random
from typing import Any

WORDS = [
    "a",
    "Ada",
    "x1",
    "ß",
    "ağaç",
    "العربية",
    "日本",
    "10 000",
    "#",
    "_",
    '"',
    "l'",
    "\u200b",
    "e\u0301",
    "😀",
    "O",
]
Values = tuple[Any, ...]


def draw_words(rng: Random, most: int = 7) -> list[str]:
    return [rng.choice(WORDS) for _ in range(rng.randint(1, most))]


def blocks_of(text: str, border: str = "") -> list[list[str]]:
    """Return the blocks of lines between borders; a border is an empty line or one that matches `border`."""
    lines = ["" if border and re.match(border, line) else line for line in text.split("\n")]
    return [block.split("\n") for block in re.split(r"\n\n+", "\n".join(lines).strip("\n")) if block]
