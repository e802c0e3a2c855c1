"""Select the tokens of the multilingual vocabulary that a model of one or a few languages keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.vocabulary.kept_ids import Ids
from bistil_ds.vocabulary.pieces import Pieces, read_pieces


def select_ids(
    counts: Mapping[str, npt.NDArray[np.int64]],
    tokenizer: PreTrainedTokenizerBase | Pieces,
    *,
    threshold: float = 1e-6,
    vocab_size: int | None = None,
    coverage: float | None = None,
    round_to: int = 1,
    keep_padding_id: bool = True,
) -> Ids:
    """Select the tokens that are frequent enough in any language, by a threshold, a number or a share of the text.

    The forced ids always stay (see `read_pieces`), and so do the parts of every kept token (see `Pieces`).

    Args:
        counts: language → int64 [V] as `count_tokens` returns it; one language or more.
        tokenizer: the tokenizer, or its pieces if they have been read already.
        threshold: a token stays if its share of a language's tokens is at least this, in one language or more.
        vocab_size: number of tokens to keep, forced ones included; the threshold is then ignored. Tokens are ranked by
            their largest share in any language; ties go to the smaller id. A token that does not fit together with its
            parts is skipped.
        coverage: instead of the threshold: of each language, the fewest most frequent tokens stay that make up at least
            this share of its tokens.
        round_to: add the next most frequent tokens until the number of tokens is a multiple of this, or no token is
            left.
        keep_padding_id: also keep all ids below the padding id, so that it does not change (see `read_pieces`).

    Returns:
        int64 [V_new], ascending.

    Raises:
        InputError: a language has no token, or would keep none but forced ones; threshold or coverage is out of range;
            `vocab_size` is too small for the forced tokens or above the size of the vocabulary; or the padding id is so
            large that all tokens stay.
        ValueError: the counts are not those of this tokenizer.
    """
    pieces = tokenizer
    if not isinstance(pieces, Pieces):
        pieces = read_pieces(pieces, keep_padding_id=keep_padding_id)
    if {len(counts_V) for counts_V in counts.values()} != {pieces.rows}:
        raise ValueError(f"expected {pieces.rows} counts a language, got {[len(each) for each in counts.values()]}")
    shares = {language: _share(counts_V, language) for language, counts_V in counts.items()}
    known = np.fromiter(pieces.id_of.values(), np.int64)
    probability_V = np.full(pieces.rows, -1.0)  # of an id without a token
    probability_V[known] = np.max([share_V[known] for share_V in shares.values()], axis=0)
    kept = _with_parts(pieces.forced, pieces)
    if pieces.below_padding and kept.issuperset(pieces.id_of.values()):
        raise InputError(
            "no token can be dropped: all are below the padding id and stay, so that it does not change (positions of "
            "some models start after it, see keep_padding_id)"
        )
    if vocab_size is not None:
        if coverage is not None:
            raise InputError(
                f"vocabulary size {vocab_size}: has no effect beside coverage {coverage}; give one of them"
            )
        if not len(kept) < vocab_size <= len(known):
            below = len(pieces.below_padding)
            why = f" ({below} as they are below the padding id)" if below else ""
            raise InputError(
                f"vocabulary size {vocab_size}: expected more than the {len(kept)} tokens that always stay{why} and at "
                f"most the {len(known)} there are"
            )
        _add_most_probable(kept, vocab_size, probability_V, pieces)
    elif coverage is not None:
        kept |= _with_parts(_covering(counts.values(), coverage), pieces)
    else:
        if not 0 <= threshold <= 1:
            raise InputError(f"vocabulary threshold {threshold}: expected a probability from 0 to 1, such as 1e-6")
        kept |= _with_parts(np.flatnonzero(probability_V >= threshold).tolist(), pieces)
    _check_each_keeps(kept - (pieces.forced - pieces.below_padding), shares)
    _add_most_probable(kept, min(round_up(len(kept), round_to), len(known)), probability_V, pieces)
    return np.array(sorted(kept), np.int64)


def round_up(size: int, multiple: int) -> int:
    """Return the smallest multiple that is at least `size`."""
    return -(-size // multiple) * multiple


def _share(counts_V: npt.NDArray[np.int64], language: str) -> npt.NDArray[np.float64]:
    total = int(counts_V.sum())
    if total == 0:
        raise InputError(
            f"the texts of {language} have no token that the model's vocabulary knows; check the file and its language"
        )
    return counts_V / total


def _with_parts(ids: Iterable[int], pieces: Pieces) -> set[int]:
    """Return ids, and those of their parts."""
    return {part for i in ids for part in (i, *pieces.parts(i))}


def _covering(counts: Iterable[npt.NDArray[np.int64]], coverage: float) -> set[int]:
    """Return, for each language, the fewest most frequent ids that make up a share `coverage` of its tokens.

    Ties go to the smaller id.
    """
    if not 0 < coverage <= 1:
        raise InputError(f"coverage {coverage}: expected a share above 0 and at most 1, such as 0.99")
    ids: set[int] = set()
    for counts_V in counts:
        needed = math.ceil(Fraction(str(coverage)) * int(counts_V.sum()))  # exact: as a float, 0.07 of 100 is above 7
        ranked = np.argsort(-counts_V, kind="stable")
        ids.update(ranked[: np.searchsorted(np.cumsum(counts_V[ranked]), needed) + 1].tolist())
    return ids


def _check_each_keeps(ids: set[int], shares: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Raise InputError unless some of `ids` occur in each language."""
    for language, share_V in shares.items():
        if not share_V[list(ids)].any():
            raise InputError(
                f"the texts of {language} would keep no token, as the most frequent one has probability "
                f"{share_V.max():.3g}; lower the threshold, or raise size or coverage (published: threshold 1e-6)"
            )


def _add_most_probable(kept: set[int], size: int, probability_V: npt.NDArray[np.float64], pieces: Pieces) -> None:
    """Add ids to `kept` in order of probability until it has `size`, which is at most the number of known ids.

    A piece that does not fit together with its parts is skipped.
    """
    for i in np.argsort(-probability_V, kind="stable").tolist():
        if len(kept) >= size:
            break
        new = {i, *pieces.parts(i)} - kept
        if len(kept) + len(new) <= size:
            kept |= new
