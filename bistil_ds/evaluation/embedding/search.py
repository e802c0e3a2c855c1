"""Find nearest vectors block by block, without the whole matrix of similarities.

Letters of axes: Q queries, N vectors that are searched, E numbers of a vector, K neighbours, B and C a block of each.
"""

from __future__ import annotations

import numpy as np

SIMILARITIES_AT_ONCE = 1 << 21  # entries of the matrix [B, C] that are in memory at a time
COLUMNS_AT_ONCE = 1 << 13


def normalised(vectors_NE: np.ndarray) -> np.ndarray:
    """Return the vectors divided by their lengths, fp32 [N, E]; a vector of zeros stays one."""
    lengths_N1 = np.linalg.norm(vectors_NE, axis=1, keepdims=True)
    unit_NE: np.ndarray = (vectors_NE / np.where(lengths_N1 == 0, 1, lengths_N1)).astype(np.float32)
    return unit_NE


def nearest(queries_QE: np.ndarray, vectors_NE: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each query the `count` vectors with the largest scalar products, or all if there are fewer.

    Args:
        queries_QE, vectors_NE: fp32; of length 1, so that the products are cosines.

    Returns:
        (products, indices), fp32 and int64 [Q, K], the largest product first. Of equal products, the one with the
        lowest index comes first.

    Raises:
        ValueError: the widths differ.
    """
    if queries_QE.shape[1] != vectors_NE.shape[1]:
        raise ValueError(f"queries have {queries_QE.shape[1]} numbers, the vectors {vectors_NE.shape[1]}")
    rows = max(1, SIMILARITIES_AT_ONCE // min(COLUMNS_AT_ONCE, len(vectors_NE)))
    parts = [_nearest(queries_QE[at : at + rows], vectors_NE, count) for at in range(0, len(queries_QE), rows)]
    products, indices = zip(*parts)
    return np.concatenate(products), np.concatenate(indices)


def nearest_others(vectors_NE: np.ndarray, count: int) -> np.ndarray:
    """Return for each of the vectors the indices of the `count` others that are nearest to it, int64 [N, K]."""
    _, found_NK = nearest(vectors_NE, vectors_NE, count + 1)
    others_NK = found_NK != np.arange(len(vectors_NE))[:, None]
    others_NK[others_NK.all(1), -1] = False  # equal vectors have pushed the vector itself out of its neighbours
    return found_NK[others_NK].reshape(len(vectors_NE), -1)


def _nearest(queries_BE: np.ndarray, vectors_NE: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    products_BK = np.empty((len(queries_BE), 0), np.float32)
    indices_BK = np.empty((len(queries_BE), 0), np.int64)
    for start in range(0, len(vectors_NE), COLUMNS_AT_ONCE):
        block_CE = vectors_NE[start : start + COLUMNS_AT_ONCE]
        places_C = np.arange(start, start + len(block_CE))
        products = np.concatenate([products_BK, queries_BE @ block_CE.T], axis=1)
        indices = np.concatenate([indices_BK, np.broadcast_to(places_C, (len(queries_BE), len(places_C)))], axis=1)
        chosen = _largest(products, count)
        products_BK, indices_BK = (np.take_along_axis(each, chosen, 1) for each in (products, indices))
    return products_BK, indices_BK


def _largest(values_BC: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the `count` largest values of each row, the largest first, of equals the first one first."""
    rows, width = values_BC.shape
    places = np.broadcast_to(np.arange(width), values_BC.shape)
    if count < width:
        least_B1 = np.partition(values_BC, width - count, axis=1)[:, width - count : width - count + 1]
        above, equal = values_BC > least_B1, values_BC == least_B1
        equal &= np.cumsum(equal, axis=1, dtype=np.int32) <= count - above.sum(1, keepdims=True)
        places = places[above | equal].reshape(rows, count)
    order = np.argsort(-np.take_along_axis(values_BC, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)
