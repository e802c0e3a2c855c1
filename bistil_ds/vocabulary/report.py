"""Report on vocabulary trimming: the model's size, and how each language's texts are cut, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.console.grid import Grid
from bistil_ds.vocabulary.coverage import fertility, unknown_share
from bistil_ds.vocabulary.encoding import encode_whole
from bistil_ds.vocabulary.kept_ids import Ids

SAMPLED_CHARACTERS = 10_000  # of a text: so the texts of a sample fit in memory, however long they are


@dataclass(frozen=True)
class Size:
    """The size of a model: embedding rows, number of parameters (tied ones count once), and their bytes."""

    vocabulary: int
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Segmentation:
    """How a tokenizer and its trimmed copy cut a sample of one language's texts into pieces.

    Attributes:
        texts: number of texts in the sample.
        fertility_before, fertility_after: pieces per whitespace-separated word.
        unknown_before, unknown_after: share of the pieces that are the unknown token.
        unchanged: share of the texts that both tokenizers cut into the same pieces.
    """

    texts: int
    fertility_before: float
    fertility_after: float
    unknown_before: float
    unknown_after: float
    unchanged: float


@dataclass(frozen=True)
class TrimReport:
    """The model's sizes before and after trimming, and how both tokenizers cut the texts of each language."""

    before: Size
    after: Size
    segmentations: dict[str, Segmentation]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as nested dicts of plain values, for JSON."""
        return asdict(self)

    def grids(self) -> list[Grid]:
        """Return the report as two tables to show: of the model, and of the texts by language."""
        sizes = [
            ["tokens", f"{self.before.vocabulary:,}", f"{self.after.vocabulary:,}"],
            ["parameters", f"{self.before.parameters:,}", f"{self.after.parameters:,}"],
            ["size", f"{self.before.bytes / 1e6:,.1f} MB", f"{self.after.bytes / 1e6:,.1f} MB"],
        ]
        texts = [
            [
                name,
                f"{part.texts:,}",
                *(f"{value:.3f}" for value in (part.fertility_before, part.fertility_after)),
                *(f"{value:.3%}" for value in (part.unknown_before, part.unknown_after)),
                f"{part.unchanged:.1%}",
            ]
            for name, part in self.segmentations.items()
        ]
        columns = ["language", "texts", "pieces a word", "after", "unknown", "after", "cut the same"]
        return [
            Grid("Vocabulary trimming", ["", "before", "after"], sizes),
            Grid("Sample texts, before and after", columns, texts),
        ]


def measure_size(model: PreTrainedModel) -> Size:
    """Measure the current size of a model."""
    parameters = list(model.parameters())
    return Size(
        vocabulary=model.get_input_embeddings().weight.shape[0],
        parameters=sum(p.numel() for p in parameters),
        bytes=sum(p.numel() * p.element_size() for p in parameters),
    )


def sample_texts(texts: datasets.Dataset, most: int = 2000) -> list[str]:
    """Return at most `most` texts, evenly spaced in the data set; every call returns the same texts.

    A text of over SAMPLED_CHARACTERS is cut to so many.
    """
    rows = np.linspace(0, len(texts) - 1, min(most, len(texts))).astype(int).tolist()
    return [(texts[row]["text"] or "")[:SAMPLED_CHARACTERS] for row in rows]


def compare_segmentation(
    texts: Sequence[str], before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase, kept_ids: Ids
) -> Segmentation:
    """Cut `texts` with a tokenizer and its trimmed copy, and compare the pieces; without texts the shares are 0."""
    old, new = (encode_whole(texts, tokenizer) for tokenizer in (before, after))
    same = sum(np.array_equal(old_ids, kept_ids[new_ids]) for old_ids, new_ids in zip(old, new, strict=True) if new_ids)
    same += sum(not old_ids and not new_ids for old_ids, new_ids in zip(old, new, strict=True))
    return Segmentation(
        texts=len(texts),
        fertility_before=fertility(old, texts),
        fertility_after=fertility(new, texts),
        unknown_before=unknown_share(old, before.unk_token_id),
        unknown_after=unknown_share(new, after.unk_token_id),
        unchanged=same / max(len(texts), 1),
    )
