"""Make the tokenizer of a trimmed vocabulary, with the same class and settings, fewer pieces, and ids without gaps."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from bistil_ds.vocabulary.kept_ids import Ids, check_kept_ids
from bistil_ds.vocabulary.pieces import tokenizer_json


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, kept_ids: Ids) -> PreTrainedTokenizerBase:
    """Return a copy of a WordPiece or Unigram tokenizer with only the tokens `kept_ids` (int64 [V_new], ascending).

    The tokens keep their order, so a `<mask>` that was last stays last.

    Raises:
        InputError: the tokenizer is of another kind, or is not a fast one.
        ValueError: `kept_ids` lacks a special or added token, or an id below the padding id.
    """
    content = tokenizer_json(tokenizer)
    check_kept_ids(kept_ids, max(tokenizer.get_vocab().values()) + 1)
    new_id = {old: new for new, old in enumerate(kept_ids.tolist())}
    missing = [token.content for i, token in tokenizer.added_tokens_decoder.items() if i not in new_id]
    if missing:
        raise ValueError(f"special and added tokens must be kept, but {missing} are not")
    if tokenizer.pad_token_id is not None and new_id[tokenizer.pad_token_id] != tokenizer.pad_token_id:
        raise ValueError(
            f"every id below the padding id {tokenizer.pad_token_id} must be kept: positions derive from it"
        )
    trim_content(content, new_id)

    # Load the tokenizer anew, because some classes keep a second copy of the vocabulary outside the backend.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        trimmed = type(tokenizer).from_pretrained(folder)
    trimmed.name_or_path = tokenizer.name_or_path
    if not np.array_equal(sorted(trimmed.get_vocab().values()), np.arange(len(kept_ids))):
        raise ValueError(f"{type(tokenizer).__name__} did not take the trimmed vocabulary over; please report this")
    return trimmed


def trim_content(content: dict[str, Any], new_id: dict[int, int]) -> None:
    """Drop pieces from the content of a `tokenizer.json` and renumber the others, in place.

    `new_id` maps the old id of each piece that stays to its new id.
    """
    model = content["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        if model["unk_id"] is not None:
            model["unk_id"] = new_id[model["unk_id"]]
    else:
        model["vocab"] = {piece: new_id[old] for piece, old in model["vocab"].items() if old in new_id}
    for token in content["added_tokens"]:
        token["id"] = new_id[token["id"]]
    if content.get("post_processor"):
        _renumber_post_processor(content["post_processor"], new_id)


def _renumber_post_processor(processor: dict[str, Any], new_id: dict[int, int]) -> None:
    for inner in processor.get("processors", ()):  # Sequence
        _renumber_post_processor(inner, new_id)
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [new_id[old] for old in token["ids"]]
    for name in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [token, id]
        if name in processor:
            processor[name][1] = new_id[processor[name][1]]
