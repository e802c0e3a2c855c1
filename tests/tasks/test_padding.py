"""Test that rows are filled up on the right, and that the mask says where."""

from __future__ import annotations

from bistil_ds.tasks.padding import pad, pad_inputs


def test_rows_are_filled_up_to_the_longest() -> None:
    padded = pad([[5, -7], [], [1, 2, 3]], -100)
    assert padded.tolist() == [[5, -7, -100], [-100, -100, -100], [1, 2, 3]]
    assert str(padded.dtype) == "torch.int64"


def test_the_mask_is_1_on_real_tokens_even_where_they_are_padding_ids() -> None:
    batch = pad_inputs([{"input_ids": [0, 1]}, {"input_ids": [4, 1, 2]}], pad_token_id=1)
    assert batch["input_ids"].tolist() == [[0, 1, 1], [4, 1, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
