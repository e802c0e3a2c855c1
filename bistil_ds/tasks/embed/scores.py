"""Compare a model's vectors of some texts with its teacher's.

Shapes: N texts, E and F values of a vector.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


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
    pairs = np.triu_indices(len(ours_NE), 1)
    cosines = [(unit @ unit.T)[pairs] for unit in (ours_NE, theirs_NF)]
    if len(pairs[0]) < 2 or min(one.std() for one in cosines) < 1e-12:
        return 0.0
    return round(float(np.corrcoef(*cosines)[0, 1]), 12)
