"""AdamW on sparse deltas as one Triton kernel: it updates deltas, their moments, and the weights at their positions."""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments are Triton values, which have no types in Python)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bistil_kernels.runtime.checks import check_devices
from bistil_kernels.runtime.pairs import device_of
from bistil_kernels.runtime.rounding import rounded
from bistil_kernels.runtime.table import Table, owner, pointer, read, span, triton_dtype
from bistil_kernels.sparse.types import SparseDelta

UPDATING = {"BLOCK": 1024, "num_warps": 4}
UPDATING_16 = {"BLOCK": 512, "num_warps": 4}  # for 16-bit weights: 4 entries a thread, as 8 need twice the registers


def update_settings(weight: torch.dtype) -> dict[str, int]:
    """Return the launch configuration for weights of a dtype."""
    return UPDATING if weight.itemsize == 4 else UPDATING_16


@triton.jit
def _update_block(
    table, P, one, i, exists, decay, step_size, one_minus_beta1, beta2, one_minus_beta2, root_of_correction2, eps,
    ADAMW: tl.constexpr, DENSE: tl.constexpr, WEIGHT: tl.constexpr, GRADIENT: tl.constexpr, INDEX: tl.constexpr,
    ALIGNED: tl.constexpr,
):  # fmt: skip
    where = read(pointer(table, P, 1, one, INDEX, ALIGNED) + i, exists, 0)
    into = pointer(table, P, 3, one, tl.float32, ALIGNED) + i
    delta = read(into, exists, 0.0)
    if ADAMW:
        at = where if DENSE else i
        gradient = read(pointer(table, P, 6, one, GRADIENT, ALIGNED and not DENSE) + at, exists, 0.0).to(tl.float32)
        average_at = pointer(table, P, 4, one, tl.float32, ALIGNED) + i
        square_at = pointer(table, P, 5, one, tl.float32, ALIGNED) + i
        average, square = read(average_at, exists, 0.0), read(square_at, exists, 0.0)
        average += one_minus_beta1 * (gradient - average)
        square = beta2 * square + one_minus_beta2 * gradient * gradient
        delta = decay * delta - step_size * (average / (tl.sqrt(square) / root_of_correction2 + eps))
        tl.store(average_at, average, mask=exists)
        tl.store(square_at, square, mask=exists)
        tl.store(into, delta, mask=exists)
    start = read(pointer(table, P, 2, one, WEIGHT, ALIGNED) + i, exists, 0.0).to(tl.float32)
    tl.store(pointer(table, P, 0, one, WEIGHT, False) + where, rounded(start + delta, WEIGHT), mask=exists)


@triton.jit
def update_deltas(
    table, P, decay, step_size, one_minus_beta1, beta2, one_minus_beta2, root_of_correction2, eps,
    ADAMW: tl.constexpr, DENSE: tl.constexpr, WEIGHT: tl.constexpr, GRADIENT: tl.constexpr, INDEX: tl.constexpr,
    STEPS: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Update deltas and moments by AdamW, and write start + delta to the weights.

    Table rows: weights, indices, starts, deltas, first moments, second moments, gradients. With DENSE, the gradients
    are those of whole weights, otherwise those of deltas. Without ADAMW, only the weights are written, deltas and
    moments do not change, and the table ends at the deltas.
    """
    block = tl.program_id(0).to(tl.int64)
    one = owner(table, P, block, STEPS)
    first, size = span(table, P, one, block, BLOCK)
    i = first + tl.arange(0, BLOCK)
    if first + BLOCK <= size:
        _update_block(
            table, P, one, i, None, decay, step_size, one_minus_beta1, beta2, one_minus_beta2, root_of_correction2,
            eps, ADAMW, DENSE, WEIGHT, GRADIENT, INDEX, ALIGNED,
        )  # fmt: skip
    else:
        _update_block(
            table, P, one, i, i < size, decay, step_size, one_minus_beta1, beta2, one_minus_beta2, root_of_correction2,
            eps, ADAMW, DENSE, WEIGHT, GRADIENT, INDEX, ALIGNED,
        )  # fmt: skip


class SparseUpdate:
    """Kernel launches that update the same deltas in every step.

    The launches' tables of pointers stay on the device. They are rebuilt if a tensor other than a gradient has moved,
    if a gradient's dtype has changed, or if a delta's gradient comes from the delta instead of the weight, or vice
    versa.
    """

    def __init__(self, deltas: Sequence[SparseDelta]) -> None:
        self.deltas = list(deltas)
        self._places: object = None
        self._gradients: list[int] = []
        self._launches: list[tuple[Table, dict[str, Any], list[int]]] = []
        self._alive: list[Tensor] = []  # we compare ids, and no other tensor gets the id of one that is alive

    def adamw(
        self,
        gradients: Sequence[Tensor],
        moments: Sequence[tuple[Tensor, Tensor]],
        step: int,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        """Do step number `step` (counted from 1), given the gradient and the two moments of each delta."""
        beta1, beta2 = betas
        gradients = [x if x.is_contiguous() else x.contiguous() for x in gradients]
        self._run(
            [*zip(*moments), gradients],
            1.0 - lr * weight_decay,
            lr / (1.0 - beta1**step),
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            (1.0 - beta2**step) ** 0.5,
            eps,
        )

    def write(self) -> None:
        """Write start + delta into the weights."""
        self._run([], *[0.0] * 7)

    def _run(self, extra: Sequence[Sequence[Tensor]], *scalars: float) -> None:
        """Launch the kernel for all deltas; first rebuild or adjust the tables if tensors have moved.

        `extra` holds three columns for all deltas: first moments, second moments and gradients. If `extra` is empty,
        only the weights are written.
        """
        deltas, gradients = self.deltas, extra[2] if extra else []
        fixed = [y for x in deltas for y in (x.indices_K, x.start_K)] + [x for column in extra[:2] for x in column]
        moving, address = [x.weight for x in deltas] + [x.delta_K for x in deltas], Tensor.data_ptr
        dense = [bool(extra) and x.delta_K.grad is None for x in deltas]
        places = (list(map(address, moving)), [x.dtype for x in gradients], dense, list(map(id, fixed)))
        found = list(map(address, gradients))
        if places != self._places:
            self._places, self._alive, self._launches = places, fixed, list(self._build(extra, dense))
        elif found != self._gradients:  # in most training loops gradients move with every step
            for table, _, group in self._launches:
                table.replace(6, [found[n] for n in group])
        self._gradients = found
        for table, constants, _ in self._launches:
            with device_of(table.tensor):
                update_deltas[(table.blocks,)](table.tensor, table.P, *scalars, **table.constants, **constants)

    def _build(
        self, extra: Sequence[Sequence[Tensor]], dense: Sequence[bool]
    ) -> Iterator[tuple[Table, dict[str, Any], list[int]]]:
        """Yield for each launch its table, the kernel's other constants, and the indices of the launch's deltas."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for n, x in enumerate(self.deltas):
            if x.indices_K.numel():
                others = {"indices_K": x.indices_K, "start_K": x.start_K, "delta_K": x.delta_K}
                check_devices("SparseDelta", x.weight.device, others)
                gradient = (extra[2][n] if extra else x.delta_K).dtype
                groups.setdefault((x.weight.device, dense[n], x.weight.dtype, gradient, x.indices_K.dtype), []).append(
                    n
                )
        for (_, is_dense, *dtypes), group in groups.items():
            some = [self.deltas[n] for n in group]
            columns = [[x.weight for x in some], [x.indices_K for x in some], [x.start_K for x in some]]
            columns += [[x.delta_K for x in some], *([column[n] for n in group] for column in extra)]
            names = dict(zip(("WEIGHT", "GRADIENT", "INDEX"), map(triton_dtype, dtypes)))  # type: ignore[arg-type]
            scattered = (0, 6) if is_dense else (0,)
            settings = update_settings(some[0].weight.dtype)
            table = Table([x.indices_K.numel() for x in some], columns, settings["BLOCK"], scattered)
            yield table, {"ADAMW": bool(extra), "DENSE": is_dense, **names, **settings}, group


@torch.library.custom_op(
    "bistil_kernels::write_deltas",
    mutates_args=("weights",),
    schema="(Tensor(a!)[] weights, Tensor[] indices, Tensor[] starts, Tensor[] deltas) -> ()",
)
def write_deltas(
    weights: Sequence[Tensor], indices: Sequence[Tensor], starts: Sequence[Tensor], deltas: Sequence[Tensor]
) -> None:
    """Do what `bistil_kernels.write_deltas` does, on a CUDA device, or on a CPU under Triton's interpreter."""
    SparseUpdate([SparseDelta(*each) for each in zip(weights, indices, starts, deltas)]).write()  # type: ignore[arg-type]
