"""Compute word vectors from co-occurrence counts; the embeddings of a small model start from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

MOST_DENSE = 10_000  # largest vocabulary whose counts are held as a whole matrix; at this size it takes 0.8 GB

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
    if vocab_size > MOST_DENSE:
        values, vectors = _sparse_eigenvectors(corpora, window, vocab_size, width)
    else:
        values, vectors = np.linalg.eigh(_dense_ppmi(corpora, window, vocab_size))
    largest = np.argsort(-np.abs(values))[:width]
    vectors_VD = np.zeros((vocab_size, width), dtype=np.float32)
    vectors_VD[:, : len(largest)] = vectors[:, largest] * np.abs(values[largest]) ** 0.5
    vectors_VD -= vectors_VD.mean(0)
    return vectors_VD / max(float(vectors_VD.std()), 1e-8)


def _pairs(corpora: Sequence[np.ndarray], window: int, vocab_size: int) -> Iterator[np.ndarray]:
    """Yield near pairs of tokens as numbers `first · V + second`, int64 [pairs], for each corpus and distance."""
    for ids_CT in corpora:
        for distance in range(1, min(window, ids_CT.shape[1] - 1) + 1):
            yield (ids_CT[:, :-distance].astype(np.int64) * vocab_size + ids_CT[:, distance:]).ravel()


def _dense_ppmi(corpora: Sequence[np.ndarray], window: int, vocab_size: int) -> np.ndarray:
    flat = np.zeros(vocab_size * vocab_size)
    for pairs in _pairs(corpora, window, vocab_size):
        flat += np.bincount(pairs, minlength=vocab_size * vocab_size)
    one_way_VV = flat.reshape(vocab_size, vocab_size)
    counts_VV = one_way_VV + one_way_VV.T
    frequency_V = counts_VV.sum(1)
    expected_VV = np.outer(frequency_V, frequency_V) / max(frequency_V.sum(), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(counts_VV / expected_VV), 0), nan=0, posinf=0, neginf=0)


def _sparse_eigenvectors(
    corpora: Sequence[np.ndarray], window: int, vocab_size: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `width` largest eigenvalues of the matrix and their vectors, from its entries above 0 alone."""
    one_way_VV = csr_array((vocab_size, vocab_size))
    for pairs in _pairs(corpora, window, vocab_size):
        one_way_VV += csr_array((np.ones(len(pairs)), np.divmod(pairs, vocab_size)), one_way_VV.shape)
    ppmi_VV = (one_way_VV + one_way_VV.T).tocoo()
    frequency_V = ppmi_VV.sum(1)
    expected = frequency_V[ppmi_VV.row] * frequency_V[ppmi_VV.col] / frequency_V.sum()
    ppmi_VV.data = np.maximum(np.log(ppmi_VV.data / expected), 0)
    start_V = np.ones(vocab_size)  # by default it would be random
    values, vectors = eigsh(ppmi_VV.tocsr(), k=min(width, vocab_size - 1), v0=start_V)
    return values, vectors
