"""Change bytes, JSON values and words at random; what is changed stays nearly right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from task_files import damage

Item = TypeVar("Item")

ODD_TEXTS = ["", " ", "\0", "\r", "\ufeff", "\u2028", "\x85", "\x1b[2J", "e\u0301", "\u202e", "😀", "null", "nan", "-1"]
ODD_TEXTS += [
    "\ud800",
    "\udcff",
    "a\0b",
    "../../x",
    "~",
    "~no.such.user",
    "*",
    "[",
    "{",
    '"',
    "'",
    "\\",
    "%s",
    "{0}",
    "a=b",
    "=",
]
NUMBERS: list[Any] = [0, 1, -1, 2, 7, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.5, 1e308, 5e-324, -0.0]
NUMBERS += [float("nan"), float("inf"), True, False]
ODD_VALUES: list[Any] = [None, [], {}, [[]], [None], {"": None}, {"a": {"a": []}}, [0, "a", None], *ODD_TEXTS, *NUMBERS]
ODD_BYTES = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n\n",
    b"\xed\xa0\x80",
    b"\x1f\x8b",
    b"[" * 3000,
    b'{"a":' * 400,
]
ODD_BYTES += [b"9" * 5000, b"1e999", b"NaN", b"\\ud800", b"\\u0000", "\u2028".encode(), b'"', b",", b"\t", b" " * 2000]


def mutated_bytes(rng: Random, content: bytes) -> bytes:
    """Flip bits, lose, insert, double or swap parts, or cut the end off."""
    found = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 12])):
        at, length = rng.randrange(len(found) + 1), rng.choice([1, 1, 2, 4, 8, 50, 700])
        match rng.randrange(7):
            case 0 | 1 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = rng.choice(ODD_BYTES)
            case 4:
                found[at : at + length] = rng.randbytes(length)
            case 5:
                other = rng.randrange(len(found) + 1)
                found[other:other] = found[at : at + length]
            case 6:
                found[at : at + 8] = rng.choice([0, 1, 2**31 - 1, 2**63 - 1, 2**64 - 1]).to_bytes(8, "little")
    return bytes(found[: rng.randrange(len(found) + 1)] if rng.random() < 0.1 else found)


def mutated_json(rng: Random, content: Any) -> bytes:
    """Return JSON text in which values, keys or characters differ from the content."""
    content = damage.damage_json(rng, json.loads(json.dumps(content)), ODD_VALUES)
    text = json.dumps(content, ensure_ascii=rng.random() < 0.7)
    data = text.encode("utf-8", errors="surrogatepass")
    return mutated_bytes(rng, data) if rng.random() < 0.2 else data


def some(rng: Random, items: Sequence[Item], most: int = 3) -> list[Item]:
    """Return up to `most` items, each any of the given ones."""
    return [rng.choice(items) for _ in range(rng.randint(0, most))]


def often(rng: Random, chance: float, make: Callable[[], Item], other: Item) -> Item:
    """Return what `make` returns, with this chance, otherwise `other`."""
    return make() if rng.random() < chance else other
