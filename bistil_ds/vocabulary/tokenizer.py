"""Make the tokenizer of a trimmed vocabulary, with the same class and settings, fewer pieces, and ids without gaps."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.vocabulary.bpe import Routes
from bistil_ds.vocabulary.kept_ids import Ids, check_kept_ids
from bistil_ds.vocabulary.named_ids import named_ids, renumber_named_ids
from bistil_ds.vocabulary.pieces import tokenizer_json


def trim_tokenizer(
    tokenizer: PreTrainedTokenizerBase, kept_ids: Ids, *, keep_padding_id: bool = True
) -> PreTrainedTokenizerBase:
    """Return a copy of a WordPiece, Unigram or BPE tokenizer with only the tokens `kept_ids`.

    The tokens keep their order, so a `<mask>` that was last stays last. BPE keeps the merges that the kept pieces go
    through; see `bistil_ds.vocabulary.bpe`.

    Args:
        tokenizer: a fast tokenizer; it is not changed.
        kept_ids: int64 [V_new], ascending, such as `select_ids` returns.
        keep_padding_id: refuse `kept_ids` with which the padding id would change.

    Raises:
        InputError: the tokenizer is of another kind, or not a fast one.
        ValueError: `kept_ids` lacks a special or added token, a piece from which a kept BPE piece is merged, or an id
            below the padding id although `keep_padding_id` is set.
    """
    content = tokenizer_json(tokenizer)
    check_kept_ids(kept_ids, max(tokenizer.get_vocab().values()) + 1)
    new_id = {old: new for new, old in enumerate(kept_ids.tolist())}
    missing = tokenizer.convert_ids_to_tokens(sorted(named_ids(content) - new_id.keys()))
    if missing:
        raise ValueError(f"special and added tokens must be kept, but {missing} are not")
    pad = tokenizer.pad_token_id
    if keep_padding_id and pad is not None and new_id[pad] != pad:
        raise ValueError(
            f"every id below the padding id {pad} must be kept: positions derive from it. If those of this model do "
            "not, give keep_padding_id=False"
        )
    trim_content(content, new_id)

    # Load the tokenizer anew, because some classes keep a second copy of the vocabulary outside the backend.
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        trimmed = type(tokenizer).from_pretrained(folder)
    trimmed.name_or_path = tokenizer.name_or_path
    expected = {piece: new_id[old] for piece, old in tokenizer.get_vocab().items() if old in new_id}
    if trimmed.get_vocab() != expected or tokenizer_json(trimmed)["model"] != content["model"]:
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
        vocab = {piece: new_id[old] for piece, old in model["vocab"].items() if old in new_id}
        if model["type"] == "BPE":
            model["merges"] = [list(merge) for merge in Routes(model).kept_merges(vocab)]
        model["vocab"] = vocab
    renumber_named_ids(content, new_id)
