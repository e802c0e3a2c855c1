"""Write sparse deltas into their weights, and restore the weights' starting values.

The sparse stage of lottery-ticket sparse fine-tuning (LT-SFT, arXiv 2110.07560) needs both.
"""

from __future__ import annotations

from collections.abc import Sequence

from bistil_kernels.runtime import dispatch
from bistil_kernels.sparse.entries.reference import put, swap_in
from bistil_kernels.sparse.types import SparseDelta


def write_deltas(deltas: Sequence[SparseDelta]) -> None:
    """Write start + delta into each delta's weight, in place; the sum is rounded once to the weight's dtype.

    Example:
        >>> delta = SparseDelta.of(torch.ones(3), torch.tensor([1]))
        >>> delta.delta_K.data += 0.5
        >>> write_deltas([delta])
        >>> delta.weight
        tensor([1.0000, 1.5000, 1.0000])

    `SparseAdamW` calls this itself. After a step of any other optimizer on the deltas, call it yourself.

    Args:
        deltas: any number, of any floating dtypes and devices.

    On CUDA one launch serves all deltas that share a device and dtypes. PyTorch operations serve the deltas one by one
    on other devices, and on CUDA if a weight is float64 or not contiguous.

    Bytes moved for a delta of K entries, with e bytes for an element of the weight: 4·K for the delta, e·K for the
    starts, 4·K for the indices (8·K in int64), and the touched sectors of the weight (see `gather_at`).

    Source: LT-SFT (arXiv 2110.07560).
    """
    if is_served(deltas):
        from bistil_kernels.sparse.adamw import fused

        tensors = [(x.weight.detach(), x.indices_K, x.start_K, x.delta_K.detach()) for x in deltas]
        fused.write_deltas(*map(list, zip(*tensors)))
        return
    for x in deltas:
        put(x.weight.detach(), x.indices_K, x.values())


def is_served(deltas: Sequence[SparseDelta]) -> bool:
    """Return whether the Triton kernel can update the weights of these deltas.

    The kernel needs at least one delta, and weights that are contiguous, on CUDA and not float64.
    """
    return dispatch.runs_triton("sparse.adamw", (x.weight for x in deltas)) and all(
        x.weight.is_contiguous() for x in deltas
    )


def restore_starts(deltas: Sequence[SparseDelta]) -> None:
    """Restore each weight's starting values in place, to the bit; the deltas stay as they are.

    Example:
        >>> delta = SparseDelta.of(torch.ones(3), torch.tensor([1]))
        >>> delta.weight[1] = 7
        >>> restore_starts([delta])
        >>> delta.weight
        tensor([1., 1., 1.])

    Args:
        deltas: any number, of any floating dtypes and devices. Only the deltas' positions are written.

    Bytes moved: see `swap_in`.
    """
    swap_in([x.weight for x in deltas], [x.indices_K for x in deltas], [x.start_K for x in deltas])
