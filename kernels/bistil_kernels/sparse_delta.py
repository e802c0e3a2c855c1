"""K trained values beside a frozen weight (LT-SFT's sparse stage, arXiv 2110.07560)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bistil_kernels import dispatch
from bistil_kernels.sparse import put, swap_in


@dataclass(eq=False)
class SparseDelta:
    """A weight that differs from its start at K positions only: there it holds start + delta, rounded once.

    Attributes:
        weight: the model's weight, any shape and floating dtype; only these K positions of it are ever written. A tied
            weight is one weight: one delta serves all its uses.
        indices_K: int32 (int64 beyond 2³¹ entries) [K], flat row-major, strictly ascending.
        start_K: [K] in the weight's dtype, what the weight held at first.
        delta_K: fp32 parameter [K], 0 at first.
    """

    weight: Tensor
    indices_K: Tensor
    start_K: Tensor
    delta_K: nn.Parameter

    @classmethod
    def of(cls, weight: Tensor, indices: Tensor) -> SparseDelta:
        """Begin at what `weight` holds now.

        Raises:
            ValueError: indices that are not strictly ascending integers within the weight, or an integer weight.
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
        """start + delta [K] in the weight's dtype: the sum is taken in fp32 (float64 for float64) and rounded once."""
        total = self.start_K.to(torch.promote_types(self.start_K.dtype, torch.float32)) + self.delta_K.detach()
        return total.to(self.weight.dtype)


def write_deltas(deltas: Sequence[SparseDelta]) -> None:
    """Make every weight hold start + delta at its positions: after a step of any other optimizer on the deltas.

    On CUDA one launch for all (one for each combination of dtypes); bytes moved: 4 K delta, e·K start, 4 K indices and
    the weight's touched sectors.
    """
    if is_served(deltas):
        from bistil_kernels import triton_adamw

        tensors = [(x.weight.detach(), x.indices_K, x.start_K, x.delta_K.detach()) for x in deltas]
        triton_adamw.write_deltas(*map(list, zip(*tensors)))
        return
    for x in deltas:
        put(x.weight.detach(), x.indices_K, x.values())


def is_served(deltas: Sequence[SparseDelta]) -> bool:
    """Whether the Triton kernel takes these."""
    return dispatch.on_triton(x.weight for x in deltas) and all(x.weight.is_contiguous() for x in deltas)


def restore_starts(deltas: Sequence[SparseDelta]) -> None:
    """Put back what each weight held at first, to the bit; the deltas stay as they are."""
    swap_in([x.weight for x in deltas], [x.indices_K for x in deltas], [x.start_K for x in deltas])
