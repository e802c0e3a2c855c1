"""Compare a model's vectors of some texts with its teacher's.

Shapes: N texts, of which B at a time are compared with the others, P pairs of these, E and F values of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray
COSINES_AT_ONCE = 1 << 20


def compare(ours_NE: Array, theirs_NF: Array) -> dict[str, float]:
    """Return how like the teacher's vectors the model's are; 1 is best.

    Example:
        >>> vectors = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
        >>> compare(vectors, 2 * vectors)
        {'similarity': 1.0, 'cosine': 1.0}

    Returns:
        `similarity`, the correlation (Pearson's) of the cosines between all pairs of texts in the two models; 0 where
        one has no variance. `cosine`, the mean cosine of a text's two vectors; left out where E is not F.
    """
    ours, theirs = _unit(ours_NE), _unit(theirs_NF)
    scores = {"similarity": _correlation(ours, theirs)}
    if ours.shape == theirs.shape:
        scores["cosine"] = round(float((ours * theirs).sum(1).mean()), 12)
    return scores


def _unit(vectors: Array) -> Array:
    vectors = vectors.astype(np.float64)
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _correlation(ours_NE: Array, theirs_NF: Array) -> float:
    pairs = len(ours_NE) * (len(ours_NE) - 1) // 2
    if pairs < 2:
        return 0.0
    means_21 = sum(cosines_2P.sum(1, keepdims=True) for cosines_2P in _cosines(ours_NE, theirs_NF)) / pairs
    centred = (cosines_2P - means_21 for cosines_2P in _cosines(ours_NE, theirs_NF))
    covariances_22 = sum(cosines_2P @ cosines_2P.T for cosines_2P in centred) / pairs
    ours, theirs = np.sqrt(np.diag(covariances_22))
    return 0.0 if min(ours, theirs) < 1e-12 else round(float(covariances_22[0, 1] / ours / theirs), 12)


def _cosines(ours_NE: Array, theirs_NF: Array) -> Iterator[Array]:
    """Yield the cosines of all pairs of texts in the two models, float64 [2, P], a block of texts at a time."""
    texts = len(ours_NE)
    size = max(1, COSINES_AT_ONCE // texts)
    for start in range(0, texts, size):
        others = ~np.tri(min(size, texts - start), texts - start, dtype=bool)  # [B, N - start]: each pair once
        yield np.stack([(unit[start : start + size] @ unit[start:].T)[others] for unit in (ours_NE, theirs_NF)])
