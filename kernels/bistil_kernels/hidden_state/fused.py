"""Hidden-state loss on CUDA: one launch compares all pairs of states and writes gradients, another writes the values.

A launch serves at most 32 pairs, all of the same dtypes, shapes and strides. Other pairs need further launches.

B sequences, T tokens, n = B·T, D and Dt the widths of student and teacher, P pairs, e bytes an element.

Bytes moved, if caches serve repeated reads: forward reads the states of real tokens, at most P·n·(D + Dt)·e, and writes
the gradients, P·n·D·e. Backward reads and writes the gradients once more (2·P·n·D·e), unless the upstream gradient is
the `upstream` given to forward. The device compares the two, so the host need not wait. With projections, the matrices'
P·Dt·D entries are read again for every 64 tokens, from the L2 cache if they fit there.

The range of fp16 is too small for a gradient that is not yet multiplied by the loss scale. So for fp16 students "mse"
keeps half the difference of the states instead, and backward multiplies it by the gradient's other factors. "cosine"
keeps the gradient in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bistil_kernels.hidden_state.tiles import compare_states, finish
from bistil_kernels.runtime.dispatch import is_direct, once_differentiable
from bistil_kernels.runtime.pairs import device_of, gathered, grid, launches, layouts, picked, scatter
from bistil_kernels.runtime.precision import kept_dtype
from bistil_kernels.runtime.scaling import scaled

PLAIN = {"ROWS": 4, "COLUMNS": 256, "INNER": 16, "num_warps": 4}
PROJECTED = {"ROWS": 64, "COLUMNS": 64, "INNER": 16, "num_warps": 4, "num_stages": 2}
PROJECTED_FP32 = {**PROJECTED, "num_warps": 8, "num_stages": 1}  # no tensor cores: 4 warps or 2 stages would spill
FINISHING = {"BLOCK": 1024, "num_warps": 4}


def hidden_state_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    projections: Sequence[Tensor] | None = None,
    kind: str = "mse",
    upstream: float = 1.0,
) -> Tensor:
    """Compute `bistil_kernels.hidden_state_loss` by Triton kernels.

    The arguments are checked already: fp32, bf16 or fp16 states on a CUDA device, or on a CPU under Triton's
    interpreter.
    """
    with_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in student)
    if is_direct([*student, *teacher, *(projections or ())]):
        if with_gradient:
            return _Direct.apply(teacher, mask, projections, kind, float(upstream), *student)
        return _forward(student, teacher, mask, projections, kind, float(upstream), False)[0]
    targets = [x.detach() for x in teacher]
    matrices = None if projections is None else [x.detach() for x in projections]
    op = torch.ops.bistil_kernels.hidden_state
    return op(list(student), targets, mask, matrices, kind, float(upstream), with_gradient)[0]


def forward_settings(projected: bool, dtype: torch.dtype) -> dict[str, int]:
    """Return the launch configuration of `compare_states` for teacher states of this dtype."""
    if not projected:
        return PLAIN
    return PROJECTED_FP32 if dtype == torch.float32 else PROJECTED


def _buffers(student: Sequence[Tensor], kind: str, with_gradient: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return uninitialised tensors: values (fp32 [P]), prepared upstreams (fp32 [P]), and a list of gradients.

    A prepared upstream is the upstream gradient for which forward computes the gradient. Gradients are contiguous, in
    the student's shape and dtype (fp32 for "cosine" with fp16 students). Without `with_gradient` the list is empty.
    """
    values, prepared = [torch.empty(len(student), dtype=torch.float32, device=student[0].device) for _ in range(2)]
    dtypes = [x.dtype if kind == "mse" else kept_dtype(x.dtype) for x in student] if with_gradient else []
    like, memory = torch.empty_like, torch.contiguous_format  # the quickest way to make a small tensor
    return values, prepared, [like(x, dtype=t, memory_format=memory) for x, t in zip(student, dtypes)]


def _forward(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    projections: Sequence[Tensor] | None,
    kind: str,
    upstream: float,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    columns = [student, teacher, *([] if projections is None else [projections])]
    values, prepared, gradients = _buffers(student, kind, with_gradient)
    real_tokens = None if mask is None else mask.sum()
    with device_of(student[0]):
        for pairs in launches(layouts(*columns)):
            s, t = student[pairs[0]], teacher[pairs[0]]
            B, T, D = s.shape
            halved = kind == "mse" and s.dtype == torch.float16
            settings = forward_settings(projections is not None, t.dtype)
            shape = grid(B * T, settings["ROWS"], len(pairs))
            partials = torch.empty(len(pairs), shape[0], dtype=torch.float32, device=s.device)
            of_projection = (0, 0) if projections is None else projections[pairs[0]].stride()
            compare_states[shape](
                picked(student, pairs),
                picked(teacher, pairs),
                None if projections is None else picked(projections, pairs),
                picked(gradients, pairs) if gradients else None,
                mask,
                real_tokens,
                partials,
                B * T,
                T,
                D,
                t.shape[-1],
                *s.stride(),
                *t.stride(),
                *of_projection,
                *((0, 0) if mask is None else mask.stride()),
                upstream,
                COSINE=kind == "cosine",
                HALVED=halved,
                **settings,
            )
            v, u = gathered(values, pairs), gathered(prepared, pairs)
            sizes = shape[0], B * T, D if kind == "mse" else 1
            finish[(len(pairs),)](partials, real_tokens, v, u, *sizes, upstream, HALVED=halved, **FINISHING)
            scatter(v, values, pairs)
            scatter(u, prepared, pairs)
    return values, prepared, gradients


class _Direct(torch.autograd.Function):
    """The operator's work as a plain autograd function, for calls that may skip the operator (`is_direct`)."""

    @staticmethod
    def forward(
        ctx: Any,
        teacher: Sequence[Tensor],
        mask: Tensor | None,
        projections: Sequence[Tensor] | None,
        kind: str,
        upstream: float,
        *student: Tensor,
    ) -> Tensor:
        values, prepared, gradients = _forward(student, teacher, mask, projections, kind, upstream, True)
        ctx.dtypes = [x.dtype for x in student]
        ctx.save_for_backward(prepared, *gradients)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        prepared, *gradients = ctx.saved_tensors
        return *[None] * 5, *scaled(gradients, prepared, upstream, ctx.dtypes)


_operator = torch.library.custom_op(
    "bistil_kernels::hidden_state",
    _forward,
    mutates_args=(),
    schema="(Tensor[] student, Tensor[] teacher, Tensor? mask, Tensor[]? projections, str kind, float upstream,"
    " bool with_gradient) -> (Tensor, Tensor, Tensor[])",
)


@_operator.register_fake
def _(student, teacher, mask, projections, kind, upstream, with_gradient):  # type: ignore[no-untyped-def]
    return _buffers(student, kind, with_gradient)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, list[Tensor]]) -> None:
    student, _, _, projections, *_ = inputs
    _, prepared, gradients = output
    ctx.dtypes = [x.dtype for x in student]
    ctx.projected = projections is not None
    ctx.mark_non_differentiable(prepared, *gradients)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(prepared, *gradients)


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[object, ...]:
    prepared, *gradients = ctx.saved_tensors
    none = [None] * len(ctx.dtypes)
    found: Sequence[Tensor | None] = none
    if upstream is not None and gradients:
        found = scaled(gradients, prepared, upstream, ctx.dtypes)
    return found, none, None, none if ctx.projected else None, None, None, None


_operator.register_autograd(_backward, setup_context=_setup_context)
