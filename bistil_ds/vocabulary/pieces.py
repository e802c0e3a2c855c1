"""Read the pieces (tokens) of a fast tokenizer's vocabulary, and find those that a trimmed copy must keep."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError


@dataclass(frozen=True)
class Pieces:
    """The vocabulary of a WordPiece or Unigram tokenizer.

    Attributes:
        id_of: piece → id.
        scores: id → log-probability; None for WordPiece.
        forced: ids that every trimmed vocabulary keeps.
    """

    id_of: dict[str, int]
    scores: list[float] | None
    forced: frozenset[int]

    @property
    def rows(self) -> int:
        """Return one more than the largest id."""
        return max(self.id_of.values()) + 1


def tokenizer_json(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the content of `tokenizer.json`.

    Raises:
        InputError: the tokenizer is not a fast one, or is neither WordPiece nor Unigram.
    """
    name = tokenizer.name_or_path or type(tokenizer).__name__
    if not tokenizer.is_fast:
        raise InputError(f"{name}: trimming needs a fast tokenizer (tokenizer.json); convert this one first")
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = content["model"]["type"]
    if kind not in ("WordPiece", "Unigram"):
        # BPE builds a piece by merging shorter ones; a trimmed copy would have to keep these and the merges too.
        raise InputError(
            f"{name}: a {kind} vocabulary cannot be trimmed; choose a WordPiece or Unigram teacher (mBERT, XLM-R)"
        )
    return content


def read_pieces(tokenizer: PreTrainedTokenizerBase) -> Pieces:
    """Read a WordPiece or Unigram tokenizer's vocabulary.

    The forced ids are those of special and added tokens, of the unknown piece, and of all pieces before the padding
    token; without the latter, the padding id would change. For Unigram, two more kinds are forced. One is byte-fallback
    pieces. The other is the piece with the lowest score: unknown characters get that score minus 10, so it must not
    change.
    """
    model = tokenizer_json(tokenizer)["model"]
    id_of: dict[str, int] = tokenizer.get_vocab()
    forced = {i for i in (*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder) if i is not None}
    if tokenizer.pad_token_id is not None:
        forced.update(range(tokenizer.pad_token_id))
    scores = None
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        forced.add(min(range(len(scores)), key=scores.__getitem__))
        if model["unk_id"] is not None:
            forced.add(model["unk_id"])
        if model.get("byte_fallback"):
            forced.update(i for piece, i in id_of.items() if re.fullmatch("<0x[0-9A-F]{2}>", piece))
    else:
        forced.add(model["vocab"][model["unk_token"]])
    return Pieces(id_of, scores, frozenset(forced))
