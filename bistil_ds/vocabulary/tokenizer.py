"""Make the tokenizer of a trimmed vocabulary, with the same class and settings, fewer pieces, and ids without gaps."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.vocabulary.bpe import Routes
from bistil_ds.vocabulary.kept_ids import Ids, check_kept_ids
from bistil_ds.vocabulary.named_ids import named_ids, renumber_named_ids
from bistil_ds.vocabulary.pieces import Pieces, read_pieces, tokenizer_json


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    kept_ids: Ids,
    *,
    keep_padding_id: bool = True,
    pieces: Pieces | None = None,
) -> PreTrainedTokenizerBase:
    """Return a copy of a WordPiece, Unigram or BPE tokenizer with only the tokens `kept_ids`.

    The tokens keep their order, so a `<mask>` that was last stays last. BPE keeps the merges that the kept pieces go
    through; see `bistil_ds.vocabulary.bpe`.

    Args:
        tokenizer: a fast tokenizer; it is not changed.
        kept_ids: int64 [V_new], ascending, such as `select_ids` returns.
        keep_padding_id: refuse `kept_ids` with which the padding id would change.
        pieces: the tokenizer's pieces if they have been read already.

    Raises:
        InputError: the tokenizer is of another kind, or not a fast one.
        ValueError: `kept_ids` lacks a special or added token, a piece from which a kept BPE piece is merged, or an id
            below the padding id although `keep_padding_id` is set.
    """
    pieces = pieces or read_pieces(tokenizer)
    check_kept_ids(kept_ids, pieces.rows)
    new_id = {old: new for new, old in enumerate(kept_ids.tolist())}
    missing = tokenizer.convert_ids_to_tokens(sorted(named_ids(pieces.content) - new_id.keys()))
    if missing:
        raise ValueError(f"special and added tokens must be kept, but {missing} are not")
    pad = tokenizer.pad_token_id
    if keep_padding_id and pad is not None and new_id[pad] != pad:
        raise ValueError(
            f"every id below the padding id {pad} must be kept: positions derive from it. If those of this model do "
            "not, give keep_padding_id=False"
        )
    content = trimmed_content(pieces.content, new_id, pieces.routes)

    # Load the tokenizer anew, because some classes keep a second copy of the vocabulary outside the backend.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        trimmed = type(tokenizer).from_pretrained(folder)
    trimmed.name_or_path = tokenizer.name_or_path
    expected = {piece: new_id[old] for piece, old in pieces.id_of.items() if old in new_id}
    if trimmed.get_vocab() != expected or tokenizer_json(trimmed)["model"] != content["model"]:
        raise ValueError(f"{type(tokenizer).__name__} did not take the trimmed vocabulary over; please report this")
    return trimmed


def trimmed_content(
    content: Mapping[str, Any], new_id: Mapping[int, int], routes: Routes | None = None
) -> dict[str, Any]:
    """Return the content of a `tokenizer.json` without the pieces that go, and with new ids.

    Args:
        content: the content of the untrimmed tokenizer's file; it is not changed.
        new_id: old id of each piece that stays → its new id.
        routes: the routes of its pieces, if it is BPE and they have been read already.
    """
    model = dict(content["model"])
    trimmed = copy.deepcopy({key: part for key, part in content.items() if key != "model"}) | {"model": model}
    if model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        if model["unk_id"] is not None:
            model["unk_id"] = new_id[model["unk_id"]]
    else:
        model["vocab"] = {piece: new_id[old] for piece, old in model["vocab"].items() if old in new_id}
        if model["type"] == "BPE":
            routes = routes or Routes(content["model"])
            model["merges"] = [list(merge) for merge in routes.kept_merges(model["vocab"])]
    renumber_named_ids(trimmed, new_id)
    return trimmed
