"""Test that batches of all lengths come into tensors of one shape, and nothing of an earlier batch stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from datasets import Dataset, Features, List, Value

from bistil_ds.text.chunks import collate_chunks, longest_row
from bistil_ds.training.graphs.static_batch import StaticBatch

PAD = 1


def batch(*lengths: int) -> dict[str, Any]:
    return collate_chunks([{"input_ids": torch.arange(5, 5 + n)} for n in lengths], pad_token_id=PAD)


def test_shorter_batches_are_padded_to_the_longest_row() -> None:
    static = StaticBatch(2, 6, True, PAD, torch.device("cpu"))
    before = {name: tensor.data_ptr() for name, tensor in static.tensors.items()}
    for lengths in ((6, 6), (2, 4), (3, 3), (6, 1)):  # batches of (6, 6) and (3, 3) have no mask
        static.fill(batch(*lengths))
        for row, n in enumerate(lengths):
            assert static.tensors["input_ids"][row].tolist() == [*range(5, 5 + n), *[PAD] * (6 - n)]
            assert static.tensors["attention_mask"][row].tolist() == [1] * n + [0] * (6 - n)
    assert before == {name: tensor.data_ptr() for name, tensor in static.tensors.items()}


def test_packed_batches_have_no_mask() -> None:
    static = StaticBatch(2, 3, False, PAD, torch.device("cpu"))
    static.fill({**batch(3, 3), "language": 0})
    assert list(static.tensors) == ["input_ids"]
    assert static.tensors["input_ids"].tolist() == [[5, 6, 7]] * 2


PACKED = Features({"input_ids": List(Value("int32"), length=3)})


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([Dataset.from_dict({"input_ids": [[1, 2, 3]] * 4}, features=PACKED)] * 2, (3, False)),
        ([Dataset.from_dict({"input_ids": [[1, 2, 3]] * 4})] * 2, (3, False)),
        ([Dataset.from_dict({"input_ids": [[1, 2, 3], [1]]})], (3, True)),
        ([Dataset.from_dict({"input_ids": [[1, 2]]}), Dataset.from_dict({"input_ids": [[1, 2, 3, 4]]})], (4, True)),
        ([Dataset.from_dict({"input_ids": [[1, 2]], "attention_mask": [[1, 0]]})], (2, True)),
        ([[{"input_ids": [1, 2]}, {"input_ids": [4, 5]}]], (2, False)),
        ([[{"input_ids": [1, 2]}, {"input_ids": [4, 5], "attention_mask": [1, 0]}]], (2, True)),
    ],
)
def test_the_shape_of_all_batches_follows_from_the_data_sets(parts: list[Any], expected: tuple[int, bool]) -> None:
    assert longest_row(parts) == expected


def test_rows_beyond_the_first_thousand_count() -> None:
    assert longest_row([Dataset.from_dict({"input_ids": [[1]] * 1500 + [[1, 2]]})]) == (2, True)
