"""K trained values beside a frozen weight (LT-SFT's sparse stage, arXiv 2110.07560)."""

from __future__ import annotations

from collections.abc import Sequence

from bistil_kernels.runtime import dispatch
from bistil_kernels.sparse.entries.reference import put, swap_in
from bistil_kernels.sparse.types import SparseDelta


def write_deltas(deltas: Sequence[SparseDelta]) -> None:
    """Make every weight hold start + delta at its positions: after a step of any other optimizer on the deltas.

    On CUDA one launch for all (one for each combination of dtypes); bytes moved: 4 K delta, e·K start, 4 K indices and
    the weight's touched sectors.
    """
    if is_served(deltas):
        from bistil_kernels.sparse.adamw import fused

        tensors = [(x.weight.detach(), x.indices_K, x.start_K, x.delta_K.detach()) for x in deltas]
        fused.write_deltas(*map(list, zip(*tensors)))
        return
    for x in deltas:
        put(x.weight.detach(), x.indices_K, x.values())


def is_served(deltas: Sequence[SparseDelta]) -> bool:
    """Whether the Triton kernel takes these."""
    return dispatch.on_triton(x.weight for x in deltas) and all(x.weight.is_contiguous() for x in deltas)


def restore_starts(deltas: Sequence[SparseDelta]) -> None:
    """Put back what each weight held at first, to the bit; the deltas stay as they are."""
    swap_in([x.weight for x in deltas], [x.indices_K for x in deltas], [x.start_K for x in deltas])
