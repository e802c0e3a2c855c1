"""One batch of a fixed shape, whose tensors stay in their places while the contents change.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class StaticBatch:
    """Tensors that hold one batch at a time.

    Args:
        rows: B.
        length: T; shorter batches are padded on the right.
        padded: whether there is an `attention_mask`; without one, every batch must have T tokens.
        pad_token_id: fills `input_ids` where a batch has no token.
        device: where the tensors are.

    Attributes:
        tensors: `input_ids`, and `attention_mask` if `padded`, both int64 [B, T].
    """

    def __init__(self, rows: int, length: int, padded: bool, pad_token_id: int, device: torch.device) -> None:
        names = ("input_ids", "attention_mask") if padded else ("input_ids",)
        self.tensors = {name: torch.zeros(rows, length, dtype=torch.int64, device=device) for name in names}
        self._filling = {"input_ids": pad_token_id, "attention_mask": 0}

    def fill(self, batch: Mapping[str, Any]) -> None:
        """Copy a batch of B rows of at most T tokens into the tensors; without a mask, all its tokens are real."""
        length = batch["input_ids"].shape[1]
        for name, tensor_BT in self.tensors.items():
            tensor_BT[:, length:] = self._filling[name]
            tensor_BT[:, :length] = batch.get(name, 1)
