"""Restrict a sparse fine-tuning (SFT) to a model with a trimmed vocabulary: drop the entries of dropped rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from bistil_ds.errors import InputError
from bistil_ds.models.families import VOCABULARY_NAME
from bistil_ds.sft.changes import SparseDiff


def restrict(
    sft_name: str,
    sparse: Mapping[str, SparseDiff],
    dense: Mapping[str, torch.Tensor],
    kept_ids: np.ndarray,
    base_vocab_size: int,
) -> tuple[dict[str, SparseDiff], dict[str, torch.Tensor]]:
    """Return the sparse differences and the dense tensors for the trimmed model; see `SparseFineTuning.restrict`."""
    kept = torch.as_tensor(np.asarray(kept_ids), dtype=torch.int64)
    new_id_V = torch.full((base_vocab_size,), -1).index_copy(0, kept, torch.arange(len(kept)))
    few, whole = dict(sparse), dict(dense)
    for name in filter(VOCABULARY_NAME.search, [*sparse, *dense]):
        if name in dense:
            whole[name] = dense[name][kept] if len(dense[name]) == base_vocab_size else dense[name]
        elif (rows := sparse[name].shape[0]) == base_vocab_size:
            few[name] = _restrict_rows(sparse[name], new_id_V, len(kept))
        else:
            raise InputError(f"SFT {sft_name}: {name} has {rows} rows, the untrimmed model {base_vocab_size}")
    return few, whole


def _restrict_rows(diff: SparseDiff, new_id_V: torch.Tensor, kept: int) -> SparseDiff:
    width = int(np.prod(diff.shape[1:]))
    flat_K = diff.indices_K.long()
    row_K = new_id_V[flat_K // width]
    stays_K = row_K >= 0
    indices_K = (row_K * width + flat_K % width)[stays_K]  # still ascending: kept ids keep their order
    return SparseDiff((kept, *diff.shape[1:]), indices_K, diff.values_K[stays_K])
