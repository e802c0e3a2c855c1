"""Test that chunks of logits are few, fill a GPU's processors and stay small beside what eager PyTorch needs."""

from __future__ import annotations

import pytest
from bistil_kernels.linear_logits import chunk_shape as module
from bistil_kernels.linear_logits.chunk_shape import CHUNK, MOST_ROWS, chunk_shape

H200, A100, A_SLICE = 132, 108, 14  # numbers of multiprocessors
SIZES = [(n, V) for n in (1, 32, 307, 2048, 2500, 8192, 32_768) for V in (7, 30_522, 250_002)]


def chunks(length: int, size: int) -> int:
    return -(-length // size)


@pytest.mark.parametrize("processors", [H200, A100, A_SLICE, 1])
@pytest.mark.parametrize(("n", "V"), SIZES)
def test_a_chunk_is_small_or_a_small_share(n: int, V: int, processors: int) -> None:
    rows, columns = chunk_shape(n, V, processors)
    assert 1 <= rows <= min(n, MOST_ROWS)
    assert 1 <= columns <= V
    assert rows * columns <= max(CHUNK, n * V // 24)
    assert rows * columns <= max(CHUNK, 4 * 128 * 256 * processors)


@pytest.mark.parametrize("processors", [H200, A100])
@pytest.mark.parametrize(("n", "V"), [(n, V) for n, V in SIZES if n * V > 24 * CHUNK or 128 < n < 512 < V])
def test_the_tiles_of_a_product_fill_whole_waves(n: int, V: int, processors: int) -> None:
    rows, columns = chunk_shape(n, V, processors)
    tiles = chunks(rows, 128) * chunks(columns, 256)
    assert tiles / (chunks(tiles, processors) * processors) > 0.9


def test_logits_that_fit_are_one_chunk() -> None:
    assert chunk_shape(137, 30_522, H200) == (137, 30_522)


def test_chunks_are_few_at_any_size() -> None:
    rounds = [chunks(n, rows) * chunks(V, columns) for n, V in SIZES for rows, columns in [chunk_shape(n, V, H200)]]
    assert max(rounds) == 16 * 30
    assert max(x for x, (n, _) in zip(rounds, SIZES) if n <= MOST_ROWS) == 30


def test_positions_are_shared_out_evenly() -> None:
    assert chunk_shape(2500, 30_522, H200)[0] == 1280


def test_rows_and_columns_may_be_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    assert chunk_shape(5, 13, 1) == (2, 5)
    monkeypatch.setattr(module, "CHUNK", 1)
    assert chunk_shape(5, 13, H200) == (2, 1)
