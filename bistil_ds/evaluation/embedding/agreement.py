"""Measure how much two models' vectors of the same texts are alike.

Letters of axes: N texts, E numbers of a vector, K neighbours.
"""

from __future__ import annotations

import numpy as np


def cosines(one_NE: np.ndarray, other_NE: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of vectors of length 1, float64 [N]; NaN if the widths differ.

    >>> cosines(np.float32([[1, 0]]), np.float32([[0.6, 0.8]])).round(6)
    array([0.6])
    """
    if one_NE.shape[1] != other_NE.shape[1]:
        return np.full(len(one_NE), np.nan)
    found_N: np.ndarray = np.einsum("ne,ne->n", one_NE, other_NE, dtype=np.float64)
    return found_N


def shares_in_common(one_NK: np.ndarray, other_NK: np.ndarray) -> np.ndarray:
    """Return for each text the share of its K neighbours in one list that are also in the other, float64 [N].

    >>> shares_in_common(np.array([[3, 5]]), np.array([[5, 4]]))
    array([0.5])
    """
    found_N: np.ndarray = (one_NK[:, :, None] == other_NK[:, None, :]).any(2).mean(1)
    return found_N
