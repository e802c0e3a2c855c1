"""Small packed files that hold a line, or lines, of many megabytes."""

from __future__ import annotations

from functools import cache
from random import Random

from text_forms import COMPRESS

PARTS = (b"a", b"\n", b" ", b'{"text": ', b'{"', b"[", b"\0", b'"', b",", b"\\", b'{"a\\', b"a\t", b"a b\n")
STARTS = (b"", b'{"', b"[", b'"', b"# ", b"1\t", b"x O\n")


@cache
def _packed(what: bytes, packing: str) -> bytes:
    return COMPRESS[packing](what * (2**22 // len(what)))


def bomb(rng: Random) -> bytes:
    """Return a file of 4 MB of lines, or of 12, 16, 20 or 280 MB in one; a packed file may consist of several."""
    packing, part = rng.choice([".gz", ".gz", ".xz", ".zst"]), rng.choice(PARTS)
    start = COMPRESS[packing](rng.choice(STARTS))
    return start + _packed(part, packing) * (1 if b"\n" in part else rng.choice([3, 4, 5, 5, 70]))
