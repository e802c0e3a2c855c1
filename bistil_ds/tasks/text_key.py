"""Decide when two sentences count as the same."""

from __future__ import annotations

import unicodedata


def text_key(text: str) -> str:
    """Return `text` in composed Unicode (NFC), case-folded and with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
