"""Find the new ids of tokens after trimming, for texts that need not be tokenised again.

A tokenizer cuts a text into words, and its model cuts each word into tokens. Trimming changes the model only. A word
whose tokens are all kept is cut into the same tokens by the trimmed model: `bistil_ds.vocabulary.bpe` says why for BPE.
WordPiece takes the longest piece that fits, again and again, and the longest of all is still the longest of fewer.
Unigram takes the pieces with the largest sum of scores, and the best of all ways to cut a word is still the best of
fewer, because a character that was dropped costs what an unknown one does, which is more.
The exception is a word that WordPiece does not know. Without pieces that led its search astray, it may become known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from bistil_ds.vocabulary.encoding import Ids
from bistil_ds.vocabulary.pieces import id_of_pieces

AGAIN = -1


def new_ids(before: str, after: str) -> Ids | None:
    """Return old id → new id, int32 [V]; AGAIN for a token that makes it necessary to tokenise its text again.

    Return None if that cannot be told: the tokenizers cut texts into words in different ways, or one cuts words at
    random.

    Args:
        before: a tokenizer, as the text of its `tokenizer.json`.
        after: what `trim_tokenizer` made of it, likewise.
    """
    one, other = json.loads(before), json.loads(after)
    model = one["model"]
    if model.get("dropout") or _how_words_are_cut(one) != _how_words_are_cut(other):
        return None
    old, new = id_of_pieces(one), id_of_pieces(other)
    found = np.full(max(old.values()) + 1, AGAIN, np.int32)
    for piece, i in new.items():
        found[old[piece]] = i
    if model["type"] == "WordPiece" and model["unk_token"] in old:
        found[old[model["unk_token"]]] = AGAIN
    return found


def _how_words_are_cut(content: Mapping[str, Any]) -> list[Any]:
    added = [{name: value for name, value in token.items() if name != "id"} for token in content["added_tokens"]]
    return [content["normalizer"], content["pre_tokenizer"], added]
