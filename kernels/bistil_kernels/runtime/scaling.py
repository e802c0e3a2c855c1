"""Multiply gradients from forward by the upstream gradient, in place where possible.

There are P gradients. Forward has computed each of them for an expected upstream gradient, its `prepared` value. So the
factor is upstream / prepared. If the factor is 1, a gradient that is scaled in place is not touched.
"""

# mypy: disable-error-code="no-untyped-def"
# (a kernel's arguments are Triton values, which have no types in Python)

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from bistil_kernels.runtime.dispatch import is_direct
from bistil_kernels.runtime.pairs import device_of, gathered, grid, launches, picked, pointer_of
from bistil_kernels.runtime.precision import ROUNDING, may_be_overwritten
from bistil_kernels.runtime.rounding import rounded

SCALING = {"BLOCK": 4096, "num_warps": 8}
AGREEMENT = tl.constexpr(ROUNDING)


def scaled(
    gradients: Sequence[Tensor], prepared: Tensor, upstream: Tensor, dtypes: Sequence[torch.dtype]
) -> Sequence[Tensor]:
    """Return `gradients[i] · upstream[i] / prepared[i]` in `dtypes[i]`, which is fp16 or the dtype of `gradients[i]`.

    `prepared` and `upstream` are fp32 [P] on the device. The gradients are scaled in place where no dtype changes and
    nobody reads the old values again.
    """
    direct = is_direct([*gradients, upstream])
    if may_be_overwritten(gradients[0]) and [x.dtype for x in gradients] == list(dtypes):
        in_place = _scale_in_place if direct else torch.ops.bistil_kernels.scale_gradients_
        in_place(gradients, prepared, upstream)
        return gradients
    anew = _scale if direct else torch.ops.bistil_kernels.scale_gradients
    return anew(gradients, prepared, upstream, [x == torch.float16 for x in dtypes])


@triton.jit
def scale(sources, targets, prepared, upstream, upstream_stride, elements, BLOCK: tl.constexpr):
    """Write sources[p] · upstream[p] / prepared[p] to targets[p], or to sources[p] if targets is None.

    If targets is None, a gradient whose upstream and prepared values agree up to rounding is neither read nor written.
    """
    pair = tl.program_id(1)
    source = pointer_of(sources, pair)
    target = source
    if targets is not None:
        target = pointer_of(targets, pair)
    expected, found = tl.load(prepared + pair), tl.load(upstream + pair * upstream_stride)
    factor = tl.where(tl.abs(found - expected) <= tl.abs(expected) * AGREEMENT, 1.0, found / expected)
    last = elements
    if targets is None:
        last = tl.where(factor == 1.0, 0, elements)
    for first in range(tl.program_id(0).to(tl.int64) * BLOCK, last, tl.num_programs(0) * BLOCK):
        i = first + tl.arange(0, BLOCK)
        x = tl.load(source + i, mask=i < elements, other=0.0).to(tl.float32) * factor
        tl.store(target + i, rounded(x, target.dtype.element_ty), mask=i < elements)


def _scale_into(
    targets: Sequence[Tensor] | None, sources: Sequence[Tensor], prepared: Tensor, upstream: Tensor
) -> None:
    """Launch `scale` for all gradients; without `targets` it works in place."""
    contiguous = [(x.dtype, y.dtype, x.numel()) for x, y in zip(sources, targets or sources)]
    with device_of(prepared):
        for pairs in launches(contiguous):
            some, into = picked(sources, pairs), None if targets is None else picked(targets, pairs)
            up, elements = gathered(upstream, pairs), some[0].numel()
            programs = grid(elements, SCALING["BLOCK"], len(pairs))
            scale[programs](some, into, gathered(prepared, pairs), up, up.stride(0), elements, **SCALING)


def _scale_in_place(gradients: Sequence[Tensor], prepared: Tensor, upstream: Tensor) -> None:
    _scale_into(None, gradients, prepared, upstream)


torch.library.custom_op(
    "bistil_kernels::scale_gradients_",
    _scale_in_place,
    mutates_args=("gradients",),
    schema="(Tensor(a!)[] gradients, Tensor prepared, Tensor upstream) -> ()",
)


def _buffers(gradients: Sequence[Tensor], to_fp16: Sequence[bool]) -> list[Tensor]:
    return [torch.empty_like(x, dtype=torch.float16 if half else x.dtype) for x, half in zip(gradients, to_fp16)]


def _scale(gradients: Sequence[Tensor], prepared: Tensor, upstream: Tensor, to_fp16: Sequence[bool]) -> list[Tensor]:
    targets = _buffers(gradients, to_fp16)
    _scale_into(targets, gradients, prepared, upstream)
    return targets


_operator = torch.library.custom_op(
    "bistil_kernels::scale_gradients",
    _scale,
    mutates_args=(),
    schema="(Tensor[] gradients, Tensor prepared, Tensor upstream, bool[] to_fp16) -> Tensor[]",
)


@_operator.register_fake
def _(gradients, prepared, upstream, to_fp16):
    return _buffers(gradients, to_fp16)
