"""Measure how well a vocabulary covers texts: the share of unknown pieces, and the number of pieces per word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Coverage:
    """How a tokenizer cuts texts: number of texts, share of unknown pieces, and number of pieces per word."""

    texts: int
    unknown: float
    fertility: float


def measure_coverage(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Coverage:
    """Cut `texts` into pieces, without special tokens, and measure how they were cut."""
    ids = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return Coverage(len(texts), unknown_share(ids, tokenizer.unk_token_id), fertility(ids, texts))


def fertility(ids: Sequence[Sequence[int]], texts: Sequence[str]) -> float:
    """Return the number of pieces per word (white space separates words); without words, the number of pieces."""
    return sum(map(len, ids)) / max(sum(len(text.split()) for text in texts), 1)


def unknown_share(ids: Sequence[Sequence[int]], unknown_id: int | None) -> float:
    """Return the share of pieces that are the unknown token; 0 if there is no piece or no such token."""
    if unknown_id is None:
        return 0.0
    return sum(text.count(unknown_id) for text in ids) / max(sum(map(len, ids)), 1)
