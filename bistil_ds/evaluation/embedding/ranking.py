"""Measure rankings of documents: nDCG and recall, as trec_eval defines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def ndcg(ranking: Sequence[int], relevance: Mapping[int, float], depth: int = 10) -> float:
    """Return the normalised discounted cumulative gain of the first `depth` documents.

    The gain of a document is its relevance, divided by log2(1 + rank). The sum is divided by that of the best ranking.

    Args:
        ranking: documents, the best one first.
        relevance: document → relevance; documents that are missing, or at or below 0, are not relevant. At least one
            is above 0.

    >>> ndcg([7, 5], {5: 1.0})
    0.6309297535714575
    """
    gains = [max(relevance.get(document, 0.0), 0.0) for document in ranking[:depth]]
    best = sorted((gain for gain in relevance.values() if gain > 0), reverse=True)[:depth]
    return _discounted(gains) / _discounted(best)


def recall(ranking: Sequence[int], relevance: Mapping[int, float], depth: int = 100) -> float:
    """Return the share of the relevant documents that are among the first `depth`; see `ndcg` for the arguments.

    >>> recall([7, 5], {5: 1.0, 6: 2.0})
    0.5
    """
    relevant = {document for document, gain in relevance.items() if gain > 0}
    return len(relevant.intersection(ranking[:depth])) / len(relevant)


def _discounted(gains: Sequence[float]) -> float:
    return float(np.sum(np.asarray(gains) / np.log2(np.arange(len(gains)) + 2)))
