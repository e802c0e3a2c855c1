"""When two sentences count as the same."""

from __future__ import annotations

import unicodedata


def text_key(text: str) -> str:
    """`text` in composed Unicode (NFC), without case, and with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
