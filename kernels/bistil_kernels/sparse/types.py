"""Types that the sparse operations share: pairs of tensors, and sparse deltas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Pairs = Sequence[tuple[Tensor, Tensor]]

# Element size in bytes → integer dtype. Values are copied as integers of this dtype, so that no bit can change.
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def index_dtype(size: int) -> torch.dtype:
    """Return the dtype of indices into `size` entries: int32, or int64 from 2³¹ entries on."""
    return torch.int32 if size <= torch.iinfo(torch.int32).max else torch.int64


@dataclass(eq=False)
class SparseDelta:
    """Weight with a trainable delta at K of its entries. Once written, these entries hold start + delta, rounded once.

    Example:
        >>> delta = SparseDelta.of(torch.ones(2, 3), torch.tensor([0, 4]))
        >>> delta.start_K, delta.delta_K.detach()
        (tensor([1., 1.]), tensor([0., 0.]))

    Attributes:
        weight: the model's weight, any shape and floating dtype; only K of its entries are ever written. A tied weight
            needs only one delta for all its uses.
        indices_K: int32 [K] (int64 from 2³¹ entries on), flat row-major, strictly ascending.
        start_K: [K] in the weight's dtype, the values of the weight when the delta was made.
        delta_K: fp32 parameter [K], 0 at first.

    Raises:
        ValueError: from `of`, for indices or a weight that cannot be used.

    Source: LT-SFT (arXiv 2110.07560).
    """

    weight: Tensor
    indices_K: Tensor
    start_K: Tensor
    delta_K: nn.Parameter

    @classmethod
    def of(cls, weight: Tensor, indices: Tensor) -> SparseDelta:
        """Make a delta whose entries are 0 and whose start is the present values of `weight`.

        Raises:
            ValueError: `indices` are not int32 or int64 [K], strictly ascending and within the weight, or the weight's
                dtype is not floating.
        """
        size = weight.numel()
        if indices.dim() != 1 or indices.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"SparseDelta: indices are {indices.dtype} {list(indices.shape)}, expected integers [K]")
        if len(indices) and (indices[0] < 0 or indices[-1] >= size or not bool((indices[1:] > indices[:-1]).all())):
            raise ValueError(f"SparseDelta: indices are not strictly ascending in 0..{size - 1}")
        if not weight.is_floating_point():
            raise ValueError(f"SparseDelta: the weight is {weight.dtype}, expected a floating dtype")
        narrow = torch.int32 if size <= torch.iinfo(torch.int32).max else torch.int64
        start = torch.take(weight.detach(), indices.to(weight.device).long())
        delta = nn.Parameter(torch.zeros(len(indices), dtype=torch.float32, device=weight.device))
        return cls(weight, indices.to(weight.device, narrow), start, delta)

    def values(self) -> Tensor:
        """Return start + delta [K] in the weight's dtype, summed in fp32 (float64 for float64) and rounded once."""
        total = self.start_K.to(torch.promote_types(self.start_K.dtype, torch.float32)) + self.delta_K.detach()
        return total.to(self.weight.dtype)
