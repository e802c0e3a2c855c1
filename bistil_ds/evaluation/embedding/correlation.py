"""Compute Spearman's rank correlation in resamples of pairs of values.

Letters of axes: G groups of equal values, N pairs, R resamples.
"""

from __future__ import annotations

import numpy as np


def spearman(one_N: np.ndarray, other_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of two values in each resample, float64 [R]; 0 where all of one value are equal.

    Equal values share the mean of their ranks. The ranks are those within the resample.

    Args:
        weights_RN: how often each pair is in a resample, float64; each row has the same sum.

    >>> spearman(np.array([1, 2, 3.0]), np.array([2, 1, 3.0]), np.ones((1, 3)))
    array([0.5])
    """
    middle = (weights_RN[0].sum() + 1) / 2
    one_RN, other_RN = (_ranks(values, weights_RN) - middle for values in (one_N, other_N))
    covariance_R = (weights_RN * one_RN * other_RN).sum(1)
    spread_R = np.sqrt((weights_RN * one_RN**2).sum(1) * (weights_RN * other_RN**2).sum(1))
    found_R: np.ndarray = np.divide(covariance_R, spread_R, out=np.zeros_like(spread_R), where=spread_R > 0)
    return found_R


def _ranks(values_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Return the rank of each value in each resample, from 1; the mean of their ranks for equal values."""
    _, first_G, group_N = np.unique(np.sort(values_N), return_index=True, return_inverse=True)
    order_N = np.argsort(values_N, kind="stable")
    sizes_RG = np.add.reduceat(weights_RN[:, order_N], first_G, axis=1)
    ranks_RG = np.cumsum(sizes_RG, axis=1) - (sizes_RG - 1) / 2
    ranks_RN = np.empty_like(weights_RN)
    ranks_RN[:, order_N] = ranks_RG[:, group_N]
    return ranks_RN
