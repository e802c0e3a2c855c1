"""Find the pieces that stand for single bytes, with which a tokenizer can write any text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel


def is_byte_piece(piece: str) -> bool:
    """Return whether `piece` stands for a byte in a vocabulary with byte fallback, such as <0x0A>."""
    return re.fullmatch("<0x[0-9A-F]{2}>", piece) is not None


def byte_ids(content: dict[str, Any], id_of: dict[str, int]) -> set[int]:
    """Return the ids of the pieces that stand for bytes: those of byte fallback, and the byte-level alphabet.

    Args:
        content: a `tokenizer.json`.
        id_of: piece → id.
    """
    found: set[int] = set()
    if content["model"].get("byte_fallback"):
        found.update(i for piece, i in id_of.items() if is_byte_piece(piece))
    if any(step["type"] == "ByteLevel" for name in ("normalizer", "pre_tokenizer") for step in _steps(content[name])):
        found.update(id_of[piece] for piece in ByteLevel.alphabet() if piece in id_of)
    return found


def _steps(component: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield a normaliser or pre-tokenizer and, if it is a sequence, the steps in it."""
    if component is not None:
        yield component
        for inner in (*component.get("normalizers", ()), *component.get("pretokenizers", ())):
            yield from _steps(inner)
