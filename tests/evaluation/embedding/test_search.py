"""Test the search for nearest vectors: order, ties, blocks and memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bistil_ds.evaluation.embedding import search as module
from bistil_ds.evaluation.embedding.search import nearest, nearest_others, normalised


def by_sorting(queries_QE: np.ndarray, vectors_NE: np.ndarray, count: int) -> list[list[int]]:
    """Return the nearest vectors by sorting all products, of equal ones the first one first."""
    products = (queries_QE @ vectors_NE.T).tolist()
    return [sorted(range(len(row)), key=lambda n: (-row[n], n))[:count] for row in products]


@pytest.fixture
def tied() -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of small whole numbers, so that products are exact and many are equal."""
    draw = np.random.default_rng(0)
    return draw.integers(-2, 3, (37, 3)).astype(np.float32), draw.integers(-2, 3, (101, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 4, 100, 101, 300])
def test_equal_products_come_in_the_order_of_the_vectors(tied: tuple[np.ndarray, np.ndarray], count: int) -> None:
    products, indices = nearest(*tied, count)
    assert indices.tolist() == by_sorting(*tied, count)
    assert (products == np.take_along_axis(tied[0] @ tied[1].T, indices, 1)).all()


def test_blocks_of_any_size_find_the_same(tied: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = by_sorting(*tied, 9)
    for columns, products in ((101, 101), (10, 30), (7, 7), (1, 1)):
        monkeypatch.setattr(module, "COLUMNS_AT_ONCE", columns)
        monkeypatch.setattr(module, "SIMILARITIES_AT_ONCE", products)
        assert nearest(*tied, 9)[1].tolist() == expected


def test_the_whole_matrix_is_never_in_memory() -> None:
    queries, vectors = np.random.default_rng(1).random((600, 4), np.float32), np.ones((40_000, 4), np.float32)
    vectors[:, 0] = np.random.default_rng(2).random(len(vectors))
    tracemalloc.start()
    nearest(queries, vectors, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * 600 * 40_000 * 4  # with everything beside the products; these alone would be 96 MB


def test_a_text_is_not_its_own_neighbour_even_among_equal_ones() -> None:
    vectors = np.float32([[1, 0], [1, 0], [1, 0], [0, 1], [0.6, 0.8]])
    assert nearest_others(vectors, 2).tolist() == [[1, 2], [0, 2], [0, 1], [4, 0], [3, 0]]
    assert nearest_others(vectors, 10).shape == (5, 4)
    assert nearest_others(vectors[:1], 10).shape == (1, 0)


def test_lengths_become_1_except_that_of_a_zero_vector() -> None:
    found = normalised(np.float32([[3, 4], [0, 0]]))
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="queries have 2 numbers, the vectors 3"):
        nearest(np.ones((1, 2), np.float32), np.ones((1, 3), np.float32), 1)
