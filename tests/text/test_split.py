"""Test which chunks validate and which train."""

from __future__ import annotations

import pytest
from datasets import Dataset

from bistil_ds.errors import InputError
from bistil_ds.text import (
    split_validation,
)


def chunk_rows(dataset: Dataset) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in dataset["input_ids"]]


@pytest.mark.parametrize(
    ("count", "options", "expected"), [(200, {}, 10), (200, {"most": 3}, 3), (5, {}, 1), (2, {}, 1)]
)
def test_validation_has_its_share_and_the_rest_trains(count: int, options: dict[str, int], expected: int) -> None:
    train, validation = split_validation(
        Dataset.from_dict({"input_ids": [[i, i + 1] for i in range(count)]}), **options
    )
    assert (len(train), len(validation)) == (count - expected, expected)
    assert {*chunk_rows(train), *chunk_rows(validation)} == {(i, i + 1) for i in range(count)}


def test_the_order_of_the_chunks_does_not_change_validation() -> None:
    chunks = Dataset.from_dict({"input_ids": [[i, i * i] for i in range(300)]})
    _, validation = split_validation(chunks)
    train, again = split_validation(chunks.shuffle(seed=7))
    assert chunk_rows(again) == chunk_rows(validation)
    assert len(train) == 285


def test_copies_of_a_validation_chunk_do_not_train() -> None:
    train, validation = split_validation(Dataset.from_dict({"input_ids": [[i % 40, 1] for i in range(120)]}))
    assert len(validation) == 6
    assert len(set(chunk_rows(validation))) == 6
    assert len(train) == 120 - 3 * 6
    assert not set(chunk_rows(train)) & set(chunk_rows(validation))


def test_training_keeps_a_chunk_when_nearly_all_are_alike_and_one_alone_is_refused() -> None:
    train, validation = split_validation(Dataset.from_dict({"input_ids": [[1], [2], *[[2]] * 98]}))
    assert len(validation) == 1
    assert set(chunk_rows(train)).isdisjoint(chunk_rows(validation))
    assert len(train) > 0
    for alike in ([], [[1]], [[1]] * 9):
        with pytest.raises(InputError, match=r"^tr\.txt gives [01] different chunks"):
            split_validation(Dataset.from_dict({"input_ids": alike}), name="tr.txt")
