"""`distillation_kl` on CUDA: Triton kernels that read each row once where it fits on chip.

N positions, V vocabulary entries, e bytes an element.

Rows of at most `LONGEST` entries fit on chip. Forward computes value and gradient in one pass, which moves 3·N·V·e
bytes. Backward moves 2·N·V·e more, but only if the upstream gradient is not 1 or the graph is kept. The range of
fp16 is too small for a gradient that is not yet multiplied by the loss scale. So fp16 keeps the difference of the
probabilities instead, and backward always multiplies it by the gradient's other factors.

For longer rows, forward is one pass with running maxima and sums (2·N·V·e bytes), and backward computes the gradient in
another pass (3·N·V·e bytes). Between the two passes 8·N bytes are kept beside the inputs, and no [N, V] buffer.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import triton
from torch import Tensor

from bistil_kernels.logits.rows import compare_long_rows, compare_rows, differentiate_long_rows, finish_rows
from bistil_kernels.runtime.pairs import device_of
from bistil_kernels.runtime.scaling import scaled

LONGEST = 8192  # rows twice as long spill registers on sm_80 and sm_90, at 16 and at 32 warps
STREAMING = {"COLUMNS": 4096, "num_warps": 8}
FINISHING = {"BLOCK": 1024, "num_warps": 4}


def on_chip(V: int) -> Mapping[str, int]:
    """Return the launch configuration for rows of `V` entries: a program takes one whole row, or several short ones."""
    columns = max(16, triton.next_power_of_2(V))
    return {"ROWS": max(1, 2048 // columns), "COLUMNS": columns, "num_warps": 8 if columns <= 2048 else 16}


def distillation_kl(student: Tensor, teacher: Tensor, temperature: float, valid: Tensor | None) -> Tensor:
    """Compute `bistil_kernels.distillation_kl` by Triton kernels.

    The arguments are checked already: fp32, bf16 or fp16 logits on a CUDA device, or on a CPU under Triton's
    interpreter.
    """
    with_gradient = torch.is_grad_enabled() and student.requires_grad
    op = torch.ops.bistil_kernels.distillation_kl
    return op(student, teacher.detach(), float(temperature), valid, with_gradient)[0]


def _buffers(student: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised tensors: value fp32 [], prepared fp32 [1], and the tensor that is kept for backward.

    For long rows the kept tensor is the statistics, fp32 [2, N]. For other rows it is the gradient [N, V] in the
    logits' dtype, or [0] if no gradient is wanted. `prepared` is the upstream gradient for which the gradient is right.
    """
    N, V = student.shape
    value, prepared = (student.new_empty(shape, dtype=torch.float32) for shape in ((), (1,)))
    if V > LONGEST:
        return value, prepared, student.new_empty((2, N), dtype=torch.float32)
    return value, prepared, student.new_empty((N, V) if with_gradient else (0,))


@torch.library.custom_op(
    "bistil_kernels::distillation_kl",
    mutates_args=(),
    schema="(Tensor student, Tensor teacher, float temperature, Tensor? valid, bool with_gradient)"
    " -> (Tensor, Tensor, Tensor)",
)
def _forward(
    student: Tensor, teacher: Tensor, temperature: float, valid: Tensor | None, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    value, prepared, kept = _buffers(student, with_gradient)
    N, V = student.shape
    if not student.numel():
        return value.zero_(), prepared.fill_(1.0), kept.zero_()
    losses = student.new_empty(N, dtype=torch.float32)
    valid_rows = None if valid is None else valid.sum()
    strides = (*student.stride(), *teacher.stride(), 0 if valid is None else valid.stride(0))
    applied = V <= LONGEST and student.dtype != torch.float16
    with device_of(student):
        if V > LONGEST:
            compare_long_rows[(N,)](
                student, teacher, kept, valid, losses, N, V, *strides, 1.0 / temperature, **STREAMING
            )
        else:
            settings = on_chip(V)
            compare_rows[(triton.cdiv(N, settings["ROWS"]),)](
                student,
                teacher,
                kept if with_gradient else None,
                valid,
                valid_rows,
                losses,
                N,
                V,
                *strides,
                1.0 / temperature,
                SCALED=applied,
                **settings,
            )
        finish_rows[(1,)](losses, valid_rows, value, prepared, N, 1.0 / temperature, APPLIED=applied, **FINISHING)
    return value, prepared, kept


@_forward.register_fake
def _(student, teacher, temperature, valid, with_gradient):
    return _buffers(student, with_gradient)


@torch.library.custom_op(
    "bistil_kernels::distillation_kl_gradient",
    mutates_args=(),
    schema="(Tensor student, Tensor teacher, float temperature, Tensor? valid, Tensor statistics, Tensor prepared,"
    " Tensor upstream) -> Tensor",
)
def _gradient(
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    valid: Tensor | None,
    statistics: Tensor,
    prepared: Tensor,
    upstream: Tensor,
) -> Tensor:
    N, V = student.shape
    gradient = torch.empty_like(student, memory_format=torch.contiguous_format)
    strides = (*student.stride(), *teacher.stride(), 0 if valid is None else valid.stride(0))
    with device_of(student):
        differentiate_long_rows[(N, triton.cdiv(V, STREAMING["COLUMNS"]))](
            student,
            teacher,
            statistics,
            valid,
            prepared,
            upstream,
            gradient,
            N,
            V,
            *strides,
            1.0 / temperature,
            **STREAMING,
        )
    return gradient


@_gradient.register_fake
def _(student, teacher, temperature, valid, statistics, prepared, upstream):
    return torch.empty_like(student, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, ctx.temperature, valid, ctx.with_gradient = inputs
    _, prepared, kept = output
    ctx.dtype, ctx.is_long = student.dtype, student.shape[1] > LONGEST
    ctx.mark_non_differentiable(prepared, kept)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(prepared, kept, *((student, teacher, valid) if ctx.is_long else ()))


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    prepared, kept, *inputs = ctx.saved_tensors
    gradient = None
    if upstream is not None and ctx.with_gradient:
        if ctx.is_long:
            student, teacher, valid = inputs
            op = torch.ops.bistil_kernels.distillation_kl_gradient
            gradient = op(student, teacher, ctx.temperature, valid, kept, prepared, upstream)
        else:
            (gradient,) = scaled([kept], prepared, upstream.reshape(1), [ctx.dtype])
    return gradient, None, None, None, None


_forward.register_autograd(_backward, setup_context=_setup_context)
