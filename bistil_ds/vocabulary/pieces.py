"""Read the pieces (tokens) of a fast tokenizer's vocabulary, and find those that a trimmed copy must keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError, blaming
from bistil_ds.vocabulary.bpe import Routes
from bistil_ds.vocabulary.byte_pieces import byte_ids
from bistil_ds.vocabulary.named_ids import named_ids


@dataclass(frozen=True)
class Pieces:
    """The vocabulary of a WordPiece, Unigram or BPE tokenizer.

    Attributes:
        id_of: piece → id.
        scores: log-probability by id; None unless the tokenizer is Unigram.
        forced: ids that every trimmed vocabulary keeps, and with them their parts.
        below_padding: those of them that stay for one reason only: they are below a padding id that must not change.
        parts: a function from a token's id to the ids that every vocabulary with this token keeps too. For Unigram and
            WordPiece, they are the single-character pieces that occur in the piece, so that text whose longer pieces
            are dropped falls back to characters and not to the unknown token; for WordPiece, both at the beginning of a
            word and inside. For BPE, they are the pieces from which it is merged.
        content: the content of `tokenizer.json`; it must not be changed.
        routes: the routes of BPE's pieces; None for another kind.
    """

    id_of: dict[str, int]
    scores: list[float] | None
    forced: frozenset[int]
    below_padding: frozenset[int]
    parts: Callable[[int], Collection[int]]
    content: Mapping[str, Any]
    routes: Routes | None

    @property
    def rows(self) -> int:
        """Return one more than the largest id."""
        return max(self.id_of.values()) + 1


def tokenizer_json(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the content of `tokenizer.json`.

    Raises:
        InputError: the tokenizer is not a fast one, or is neither WordPiece, Unigram nor BPE.
    """
    name = _name(tokenizer)
    if not tokenizer.is_fast:
        raise InputError(f"{name}: trimming needs a fast tokenizer (tokenizer.json); convert this one first")
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = content["model"]["type"]
    if kind not in ("WordPiece", "Unigram", "BPE"):
        raise InputError(
            f"{name}: a {kind} vocabulary cannot be trimmed; choose a teacher with WordPiece, Unigram or BPE"
        )
    return content


def read_pieces(tokenizer: PreTrainedTokenizerBase, *, keep_padding_id: bool = True) -> Pieces:
    """Read the vocabulary of a WordPiece, Unigram or BPE tokenizer.

    The forced ids are those of special and added tokens, of tokens that the post-processor adds, of the unknown piece,
    and of pieces that stand for bytes. Unigram has one more: the piece with the lowest score. That score minus 10 is
    the score of an unknown character, so it must not change.

    Args:
        tokenizer: a fast tokenizer.
        keep_padding_id: force all ids below the padding id as well, so that it does not change. Models that number
            positions from the padding id, such as XLM-R, need this.

    Raises:
        InputError: the tokenizer is of another kind, its BPE is of a kind that cannot be trimmed, or its settings name
            an id that no token has.
    """
    content = tokenizer_json(tokenizer)
    model = content["model"]
    id_of = id_of_pieces(content)
    forced = {i for i in (*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder) if i is not None}
    named = named_ids(content)
    if not named <= set(id_of.values()):
        nameless = min(named - set(id_of.values()))
        raise InputError(f"{_name(tokenizer)}: tokenizer.json names the id {nameless}, which no token has")
    forced |= named | byte_ids(content, id_of)
    scores = routes = None
    parts = _characters(id_of, model.get("continuing_subword_prefix") or "")
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        forced.add(min(range(len(scores)), key=scores.__getitem__))
        if model["unk_id"] is not None:
            forced.add(model["unk_id"])
    else:
        if model["unk_token"] in model["vocab"]:
            forced.add(model["vocab"][model["unk_token"]])
        if model["type"] == "BPE":
            with blaming(_name(tokenizer)):
                routes = Routes(model)
            parts = _merged_parts(routes, model["vocab"], max(id_of.values()) + 1)
    below = frozenset(range(tokenizer.pad_token_id or 0)) - forced if keep_padding_id else frozenset()
    return Pieces(id_of, scores, frozenset(forced | below), below, parts, content, routes)


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return tokenizer.name_or_path or type(tokenizer).__name__


def id_of_pieces(content: Mapping[str, Any]) -> dict[str, int]:
    """Return piece → id of a `tokenizer.json`, as `get_vocab` does; the pieces are the strings in the content."""
    vocab = content["model"]["vocab"]
    if content["model"]["type"] == "Unigram":
        id_of = {piece: i for i, (piece, _) in enumerate(vocab)}
    else:
        id_of = dict(vocab)
    return id_of | {token["content"]: token["id"] for token in content["added_tokens"]}


def _characters(id_of: Mapping[str, int], prefix: str) -> Callable[[int], Collection[int]]:
    """Return the function from a piece's id to the ids of the single-character pieces that occur in it.

    Args:
        prefix: what WordPiece's pieces begin with inside a word, such as "##"; "" for Unigram.
    """
    pieces_of: dict[str, list[int]] = {}  # by character
    for piece, i in id_of.items():
        if len(bare := piece.removeprefix(prefix)) == 1:
            pieces_of.setdefault(bare, []).append(i)
    piece_of = _by_id(id_of, max(id_of.values()) + 1)
    return lambda i: [part for character in piece_of[i].removeprefix(prefix) for part in pieces_of.get(character, ())]


def _merged_parts(routes: Routes, id_of: Mapping[str, int], rows: int) -> Callable[[int], Collection[int]]:
    """Return the function from a BPE piece's id to the ids of the pieces from which it is merged."""
    piece_of = _by_id(id_of, rows)
    return lambda i: {id_of[part] for part in routes.pieces_between(piece_of[i])}


def _by_id(id_of: Mapping[str, int], rows: int) -> list[str]:
    """Return the piece of each of `rows` ids; "" of an id without one."""
    piece_of = [""] * rows
    for piece, i in id_of.items():
        piece_of[i] = piece
    return piece_of
