"""Measure how well vectors find each sentence's translation among all translations.

Letters of axes: N pairs, E numbers of a vector, K neighbours.
"""

from __future__ import annotations

import numpy as np

from bistil_ds.evaluation.embedding.search import nearest

NEIGHBOURS = 4  # k of Artetxe & Schwenk


def translations_found(source_NE: np.ndarray, target_NE: np.ndarray) -> dict[str, np.ndarray]:
    """Return for each pair whether its translation is found, in both directions, by cosine and by margin.

    A sentence's translation is found by cosine if it is the nearest of all sentences of the other language. By margin,
    it has to be the best of the `NEIGHBOURS` nearest: the one whose cosine is largest over the mean cosine of the two
    sentences with their own `NEIGHBOURS` nearest (ratio margin). Of equally good sentences the first one counts.

    Args:
        source_NE, target_NE: fp32 vectors of length 1; row i of one is the translation of row i of the other.

    Returns:
        bool [N] under `forward` (from source to target) and `backward`, and under `margin_forward` and
        `margin_backward`. The error rate xsim is the share of False in these two.

    Raises:
        ValueError: the shapes differ.

    Source: Artetxe & Schwenk (2019), "Margin-based Parallel Corpus Mining with Multilingual Sentence Embeddings"; xsim
    as in LASER.

    >>> one, other = np.float32([[1, 0], [0, 1]]), np.float32([[0.8, 0.6], [0.6, 0.8]])
    >>> translations_found(one, other)["forward"]
    array([ True,  True])
    """
    if source_NE.shape != target_NE.shape:
        raise ValueError(f"source vectors are {source_NE.shape}, target vectors {target_NE.shape}")
    own_N = np.arange(len(source_NE))
    ahead, back = nearest(source_NE, target_NE, NEIGHBOURS), nearest(target_NE, source_NE, NEIGHBOURS)
    return {
        "forward": ahead[1][:, 0] == own_N,
        "backward": back[1][:, 0] == own_N,
        "margin_forward": _best_by_margin(*ahead, back[0]) == own_N,
        "margin_backward": _best_by_margin(*back, ahead[0]) == own_N,
    }


def _best_by_margin(cosines_NK: np.ndarray, indices_NK: np.ndarray, cosines_back_NK: np.ndarray) -> np.ndarray:
    means_N, means_back_N = cosines_NK.mean(1, dtype=np.float64), cosines_back_NK.mean(1, dtype=np.float64)
    means_NK = (means_N[:, None] + means_back_N[indices_NK]) / 2
    ratios_NK = cosines_NK / np.where(means_NK == 0, 1, means_NK)
    best_N: np.ndarray = np.take_along_axis(indices_NK, ratios_NK.argmax(1)[:, None], 1)[:, 0]
    return best_N
