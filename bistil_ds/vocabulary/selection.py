"""Select the tokens of the multilingual vocabulary that a model of one or a few languages keeps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.vocabulary.kept_ids import Ids
from bistil_ds.vocabulary.pieces import Pieces, read_pieces


def select_ids(
    counts: Mapping[str, npt.NDArray[np.int64]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    threshold: float = 1e-6,
    vocab_size: int | None = None,
    keep_padding_id: bool = True,
) -> Ids:
    """Select the tokens that are frequent enough in any language, or the `vocab_size` most frequent ones.

    The forced ids always stay (see `read_pieces`), and so do the parts of every kept token (see `Pieces`).

    Args:
        counts: language → int64 [V] as `count_tokens` returns it; one language or more.
        threshold: a token stays if, in at least one language, its share of the tokens is this or more.
        vocab_size: number of tokens to keep, forced ones included; the threshold is then ignored. Tokens are ranked by
            their largest share in any language; of tokens with equal shares, the smaller id comes first. A token is
            skipped if there is no room for it and its parts.
        keep_padding_id: also keep all ids below the padding id, so that it does not change.

    Returns:
        int64 [V_new], ascending.

    Raises:
        InputError: a language has no token, the threshold is outside 0..1 or so high that only forced tokens would
            stay, or `vocab_size` is too small for the forced tokens or above the size of the vocabulary.
        ValueError: the counts are not those of this tokenizer.
    """
    pieces = read_pieces(tokenizer, keep_padding_id=keep_padding_id)
    if {len(counts_V) for counts_V in counts.values()} != {pieces.rows}:
        raise ValueError(f"expected {pieces.rows} counts a language, got {[len(each) for each in counts.values()]}")
    probability_V = np.max([_share(counts_V, language) for language, counts_V in counts.items()], axis=0)
    if vocab_size is not None:
        return _most_probable(probability_V, pieces, vocab_size)
    if not 0 <= threshold <= 1:
        raise InputError(f"vocabulary threshold {threshold}: expected a probability from 0 to 1, such as 1e-6")
    wanted = {i for i in pieces.id_of.values() if probability_V[i] >= threshold}
    if wanted <= pieces.forced:
        raise InputError(
            f"vocabulary threshold {threshold}: the most frequent token has probability {probability_V.max():.3g}, so "
            "none would be kept; lower the threshold (published: 1e-6)"
        )
    kept = set(pieces.forced | wanted)
    kept.update(part for i in tuple(kept) for part in pieces.parts(i))
    return np.array(sorted(kept), np.int64)


def _share(counts_V: npt.NDArray[np.int64], language: str) -> npt.NDArray[np.float64]:
    total = int(counts_V.sum())
    if total == 0:
        raise InputError(
            f"the texts of {language} have no token that the model's vocabulary knows; check the file and its language"
        )
    return counts_V / total


def _most_probable(probability_V: npt.NDArray[np.float64], pieces: Pieces, size: int) -> Ids:
    """Select `size` ids, most probable first; skip a piece if there is no room for it and its parts."""
    kept = set(pieces.forced)
    kept.update(part for i in pieces.forced for part in pieces.parts(i))
    if not len(kept) < size <= len(pieces.id_of):
        raise InputError(
            f"vocabulary size {size}: expected more than the {len(kept)} tokens that always stay and at most the "
            f"{len(pieces.id_of)} there are"
        )
    known = set(pieces.id_of.values())
    for i in np.argsort(-probability_V, kind="stable").tolist():
        if i in known:
            new = {i, *pieces.parts(i)} - kept
            if len(kept) + len(new) <= size:
                kept |= new
        if len(kept) == size:
            break
    return np.array(sorted(kept), np.int64)
