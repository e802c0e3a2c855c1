"""Pad rows of different lengths into tensors.

Shapes: B rows, T tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bistil_ds.tasks.task import Row


def pad(sequences: Sequence[Sequence[int]], value: int) -> Tensor:
    """Return the sequences as int64 [B, T], filled up with `value` on the right."""
    tensors = [torch.tensor(sequence, dtype=torch.int64) for sequence in sequences]
    return pad_sequence(tensors, batch_first=True, padding_value=value)


def pad_inputs(rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask` (1 on real tokens) of the rows, each int64 [B, T]."""
    ids = [row["input_ids"] for row in rows]
    return {"input_ids": pad(ids, pad_token_id), "attention_mask": pad([[1] * len(one) for one in ids], 0)}
