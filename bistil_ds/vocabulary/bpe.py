"""Find the merges that the pieces of a BPE vocabulary go through.

BPE cuts a word into characters. Then, again and again, it joins the pair of neighbours whose merge has the lowest rank,
the leftmost such pair first, until no two neighbours have a merge. The merges that build one piece from its own
characters are called its route. A trimmed vocabulary keeps the routes of its pieces, and no other merge.

Why routes suffice, whatever the ranks and however many merges lead to one piece: let BPE cut a word, and let t be one
of the resulting pieces. No merge joins a character of t with one outside of it, for these would stay joined. A merge
within t was the first choice in the whole word when it was applied, so it was the first choice within t too. So BPE did
within t what it does with the characters of t alone: it took the route of t. Hence all merges that cut the word belong
to the routes of the resulting pieces. If all these pieces are kept, all these merges are, and each stays the first
choice of its step when other merges are gone. The word is cut into the same pieces by the same merges. The argument
holds as well for a piece on the way to t, so its route is a part of the route of t.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.vocabulary.byte_pieces import is_byte_piece

Merge = tuple[str, str]
NO_MERGE = float("inf")


class Routes:
    """The routes of the pieces of one BPE model.

    Args:
        model: the part "model" of a `tokenizer.json`.

    Raises:
        InputError: the model marks the beginning or the end of words within its pieces, or merges byte pieces or the
            unknown piece, so that the characters of a piece do not tell what it is built from.

    >>> vocab = {"a": 0, "b": 1, "c": 2, "bc": 3, "ab": 4, "abc": 5}
    >>> model = {"vocab": vocab, "merges": [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]]}
    >>> Routes(model).route("abc")
    [('b', 'c'), ('a', 'bc')]
    """

    def __init__(self, model: dict[str, Any]) -> None:
        for name in ("continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(name):
                raise InputError(f"a BPE vocabulary with {name} {model[name]!r} cannot be trimmed")
        self._rank: dict[Merge, float] = {(left, right): rank for rank, (left, right) in enumerate(model["merges"])}
        for piece in {piece for merge in self._rank for piece in merge if len(piece) > 1}:
            if piece == model.get("unk_token") or (model.get("byte_fallback") and is_byte_piece(piece)):
                raise InputError(f"a BPE vocabulary that merges {piece!r} with other pieces cannot be trimmed")

    def route(self, piece: str) -> list[Merge]:
        """Return the merges that build `piece` from its characters, in the order in which BPE applies them.

        The list is empty for a single character, and for a piece that BPE never builds: one without merges, or whose
        characters are merged into other pieces.
        """
        parts, route = list(piece), []
        ranks = [self._rank.get(pair, NO_MERGE) for pair in pairwise(parts)]
        while ranks:
            lowest = min(ranks)
            if lowest == NO_MERGE:
                return []
            at = ranks.index(lowest)
            route.append((parts[at], parts[at + 1]))
            parts[at : at + 2] = ["".join(route[-1])]
            del ranks[at]
            for left in range(max(at - 1, 0), min(at + 1, len(ranks))):
                ranks[left] = self._rank.get((parts[left], parts[left + 1]), NO_MERGE)
        return route

    def pieces_between(self, piece: str) -> set[str]:
        """Return the pieces that are joined on the route of `piece`, its characters included."""
        return {part for merge in self.route(piece) for part in merge}

    def kept_merges(self, pieces: Collection[str]) -> list[Merge]:
        """Return the merges on the routes of `pieces`, by rank.

        Raises:
            ValueError: a piece on the route of another is not among `pieces`.
        """
        needed = {merge for piece in pieces for merge in self.route(piece)}
        missing = {part for merge in needed for part in merge} - set(pieces)
        if missing:
            raise ValueError(f"pieces that kept pieces are merged from must be kept, but {sorted(missing)[:5]} are not")
        return sorted(needed, key=self._rank.__getitem__)
