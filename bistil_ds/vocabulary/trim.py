"""Trim a multilingual model and its tokenizer to the tokens of one or a few languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.models.families import positions_after_padding
from bistil_ds.vocabulary.counting import count_tokens
from bistil_ds.vocabulary.embeddings import trim_model
from bistil_ds.vocabulary.kept_ids import Ids
from bistil_ds.vocabulary.pieces import Pieces, read_pieces
from bistil_ds.vocabulary.report import TrimReport, compare_segmentation, measure_size, sample_texts
from bistil_ds.vocabulary.selection import round_up, select_ids
from bistil_ds.vocabulary.tokenizer import trim_tokenizer


@dataclass(frozen=True)
class Trimmed:
    """The result of `trim_vocabulary`.

    Attributes:
        model: the argument `model`, which was changed in place.
        tokenizer: a trimmed copy of the argument `tokenizer`.
        kept_ids: int64 [V_new], new id → old id.
        report: the model's size before and after, and how both tokenizers cut sample texts.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    kept_ids: Ids
    report: TrimReport


def trim_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, datasets.Dataset],
    *,
    threshold: float = 1e-6,
    vocab_size: int | None = None,
    coverage: float | None = None,
    round_to: int = 1,
    progress: bool = True,
) -> Trimmed:
    """Keep the tokens that occur often enough in the texts of any language, and drop the rest.

    Example:
        >>> from bistil_ds import trim_vocabulary
        >>> trimmed = trim_vocabulary(teacher, tokenizer, {"en": english, "tr": turkish}, vocab_size=60, progress=False)
        >>> trimmed.model.get_input_embeddings().num_embeddings, len(trimmed.tokenizer)
        (60, 60)

    Text whose pieces are all kept has the same hidden states as before, to the bit.

    Args:
        model: a masked language model; its embeddings and output layer are trimmed in place.
        tokenizer: its tokenizer, WordPiece, Unigram or BPE; it is not changed.
        texts: language → data set with a column "text" (string); one language or more.
        threshold: keep a token if its share of a language's tokens is at least this, in one language or more. Special
            and added tokens and a few others always stay (see `select_ids`).
        vocab_size: keep this many tokens, the most frequent ones; the threshold is then ignored.
        coverage: instead of the threshold: keep of each language the fewest most frequent tokens that make up at least
            this share of its tokens.
        round_to: round the number of rows up to a multiple of this, by the next most frequent tokens or, if no token is
            left, by rows of zeros.
        progress: show a bar while texts are counted.

    Returns:
        The model, a trimmed tokenizer, the kept ids, and a report.

    Raises:
        InputError: the tokenizer's or the model's kind is not supported, or threshold, size or coverage cannot be used.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    pieces = pieces_for(model, tokenizer)
    counts = {
        name: count_tokens(part, tokenizer, name=name, rows=pieces.rows, progress=progress)
        for name, part in texts.items()
    }
    sizes: dict[str, Any] = {"threshold": threshold, "vocab_size": vocab_size, "coverage": coverage}
    return trim_by_counts(model, tokenizer, texts, counts, pieces, round_to=round_to, **sizes)


def pieces_for(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Pieces:
    """Return the pieces of a tokenizer, with those forced that the model needs.

    Raises:
        InputError: from `read_pieces`.
    """
    return read_pieces(tokenizer, keep_padding_id=positions_after_padding(model.config.model_type))


def trim_by_counts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, datasets.Dataset],
    counts: Mapping[str, npt.NDArray[np.int64]],
    pieces: Pieces,
    *,
    round_to: int = 1,
    **sizes: Any,
) -> Trimmed:
    """Trim as `trim_vocabulary` does, by tokens that have been counted already.

    Args:
        texts: language → data set, of which a sample is compared before and after trimming.
        counts: language → int64 [V], what `count_tokens` returns for its texts.
        pieces: what `pieces_for` returns.
        sizes: `threshold`, `vocab_size` or `coverage`.

    Raises:
        InputError: as `trim_vocabulary`.
    """
    kept_ids = select_ids(counts, pieces, **sizes, round_to=round_to)
    samples = {name: sample_texts(part) for name, part in texts.items()}
    return trim_to_ids(model, tokenizer, kept_ids, samples, pieces, round_to=round_to)


def trim_to_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    kept_ids: Ids,
    samples: Mapping[str, Sequence[str]],
    pieces: Pieces,
    *,
    round_to: int = 1,
) -> Trimmed:
    """Trim as `trim_vocabulary` does, to ids that have been selected already.

    Args:
        samples: language → texts that are compared before and after trimming.
        pieces: what `pieces_for` returns.

    Raises:
        InputError: as `trim_vocabulary`.
    """
    keep_padding_id = positions_after_padding(model.config.model_type)
    trimmed = trim_tokenizer(tokenizer, kept_ids, keep_padding_id=keep_padding_id, pieces=pieces)
    before = measure_size(model)
    trim_model(model, kept_ids, rows=round_up(len(kept_ids), round_to))
    report = TrimReport(
        before=before,
        after=measure_size(model),
        segmentations={
            name: compare_segmentation(part, tokenizer, trimmed, kept_ids) for name, part in samples.items()
        },
    )
    return Trimmed(model, trimmed, kept_ids, report)
