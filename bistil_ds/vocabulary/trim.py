"""Trim a multilingual masked language model and its tokenizer to two languages (BiStil, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import datasets
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.vocabulary.counting import count_tokens
from bistil_ds.vocabulary.embeddings import trim_model
from bistil_ds.vocabulary.kept_ids import Ids
from bistil_ds.vocabulary.report import TrimReport, compare_segmentation, measure_size, sample_texts
from bistil_ds.vocabulary.selection import select_ids
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
    source_texts: datasets.Dataset,
    target_texts: datasets.Dataset,
    *,
    threshold: float = 1e-6,
    vocab_size: int | None = None,
    progress: bool = True,
) -> Trimmed:
    """Keep the tokens that occur often enough in either corpus, and drop the others from model and tokenizer.

    Example:
        >>> from bistil_ds import trim_vocabulary
        >>> trimmed = trim_vocabulary(teacher, tokenizer, source_texts, target_texts, vocab_size=60, progress=False)
        >>> trimmed.model.get_input_embeddings().num_embeddings, len(trimmed.tokenizer)
        (60, 60)

    Text whose pieces are all kept has the same hidden states as before, to the bit.

    Args:
        model: a masked language model; its embeddings and output layer are trimmed in place.
        tokenizer: its tokenizer, WordPiece or Unigram; it is not changed.
        source_texts, target_texts: data sets with a column "text" (string).
        threshold: keep a token if, in at least one corpus, its share of the tokens is this or more. Special and added
            tokens and a few others always stay (see `select_ids`).
        vocab_size: keep this many of the most frequent tokens; the threshold is then ignored.
        progress: show a bar while texts are counted.

    Returns:
        The model, a trimmed tokenizer, the kept ids, and a report.

    Raises:
        InputError: the tokenizer is of a kind that cannot be trimmed, model and tokenizer do not fit together, or
            `threshold` or `vocab_size` cannot be used.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    kept_ids = select_ids(
        count_tokens(source_texts, tokenizer, name="source", progress=progress),
        count_tokens(target_texts, tokenizer, name="target", progress=progress),
        tokenizer,
        threshold=threshold,
        vocab_size=vocab_size,
    )
    trimmed = trim_tokenizer(tokenizer, kept_ids)
    before = measure_size(model)
    trim_model(model, kept_ids)
    report = TrimReport(
        before=before,
        after=measure_size(model),
        source=compare_segmentation(sample_texts(source_texts), tokenizer, trimmed, kept_ids),
        target=compare_segmentation(sample_texts(target_texts), tokenizer, trimmed, kept_ids),
    )
    return Trimmed(model, trimmed, kept_ids, report)
