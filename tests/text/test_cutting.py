"""Test that token ids are cut into chunks without a loss, in whatever portions they come."""

from __future__ import annotations

import numpy as np
import pytest

from bistil_ds.text.cutting import cut


@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_texts_are_laid_end_to_end_and_cut(length: int, at_once: int) -> None:
    draw = np.random.default_rng(length)
    texts = [draw.integers(0, 1000, draw.integers(0, 15)).tolist() for _ in range(40)]
    flat = [token for ids in texts for token in ids]
    whole = len(flat) // length * length
    found = list(cut(texts, length, at_once=at_once))
    assert np.concatenate(found).tolist() == np.reshape(flat[:whole], (-1, length)).tolist()
    assert {array.dtype for array in found} == {np.dtype(np.int32)}
    rest = list(cut(texts, length, at_once=at_once, keep_rest=True))[len(found) :]
    assert [array.tolist() for array in rest] == ([[flat[whole:]]] if whole < len(flat) else [])


def test_less_than_a_chunk_gives_none_or_the_rest() -> None:
    assert list(cut([], 4, keep_rest=True)) == list(cut([[]], 4, keep_rest=True)) == list(cut([[1, 2]], 4)) == []
    assert [array.tolist() for array in cut([[1], [2]], 4, keep_rest=True)] == [[[1, 2]]]
