"""Compute word vectors from co-occurrence counts; the embeddings of a small model start from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Shapes: C chunks, T tokens, V vocabulary, D width


def cooccurrence_vectors(corpora: Sequence[np.ndarray], window: int, vocab_size: int, width: int) -> np.ndarray:
    """Factorise the positive pointwise mutual information of nearby tokens; return float32 [V, D].

    Each column has mean 0; all entries together have variance 1. The vectors resemble those of word2vec: skip-gram with
    negative sampling factorises the pointwise mutual information minus a constant (Levy and Goldberg, 2014). In chunks
    of translation pairs the window reaches into the other language, so translations get similar vectors.

    Args:
        corpora: the token ids of each corpus, int [C, T].
        window: two tokens are near if they are at most this many tokens apart. All near pairs count the same.
    """
    flat = np.zeros(vocab_size * vocab_size)
    for ids_CT in corpora:
        for distance in range(1, min(window, ids_CT.shape[1] - 1) + 1):
            pairs = ids_CT[:, :-distance].astype(np.int64) * vocab_size + ids_CT[:, distance:]
            flat += np.bincount(pairs.ravel(), minlength=vocab_size * vocab_size)
    one_way_VV = flat.reshape(vocab_size, vocab_size)
    counts_VV = one_way_VV + one_way_VV.T
    frequency_V = counts_VV.sum(1)
    expected_VV = np.outer(frequency_V, frequency_V) / max(frequency_V.sum(), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ppmi_VV = np.nan_to_num(np.maximum(np.log(counts_VV / expected_VV), 0), nan=0, posinf=0, neginf=0)
    values, vectors = np.linalg.eigh(ppmi_VV)
    largest = np.argsort(-np.abs(values))[:width]
    vectors_VD = np.zeros((vocab_size, width), dtype=np.float32)
    vectors_VD[:, : len(largest)] = vectors[:, largest] * np.abs(values[largest]) ** 0.5
    vectors_VD -= vectors_VD.mean(0)
    return vectors_VD / max(float(vectors_VD.std()), 1e-8)
