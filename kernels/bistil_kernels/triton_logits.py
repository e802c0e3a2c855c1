"""`distillation_kl` as Triton kernels.

N positions, V vocabulary entries, e bytes an element.

Rows of at most `LONGEST` entries fit on chip: one pass yields value and gradient, 3·N·V·e bytes, and backward moves
2·N·V·e more only where the upstream gradient is not one (or the graph is kept). fp16 cannot hold this gradient before
it has met its loss scale, so it keeps the difference of the probabilities and backward always multiplies.
Longer rows: one pass with online statistics, 2·N·V·e bytes, and one in backward, 3·N·V·e; between them 8·N bytes
are kept and no [N, V] buffer.
"""

# mypy: disable-error-code="no-untyped-def"
# (kernels: their arguments are Triton values)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bistil_kernels.triton_pairs import device_of
from bistil_kernels.triton_precision import rounded
from bistil_kernels.triton_scaling import scaled

LONGEST = 8192  # twice as long spills registers on sm_80 and sm_90 at 16 and at 32 warps
STREAMING = {"COLUMNS": 4096, "num_warps": 8}
FINISHING = {"BLOCK": 1024, "num_warps": 4}
LEAST = tl.constexpr(-3.0e38)  # a running maximum before anything was seen: finite, so that no difference is NaN


def on_chip(V: int) -> Mapping[str, int]:
    """The launch configuration for rows of `V` entries: whole rows, several where they are short."""
    columns = max(16, triton.next_power_of_2(V))
    return {"ROWS": max(1, 2048 // columns), "COLUMNS": columns, "num_warps": 8 if columns <= 2048 else 16}


def distillation_kl(student: Tensor, teacher: Tensor, temperature: float, valid: Tensor | None) -> Tensor:
    """`bistil_kernels.distillation_kl` of fp32, bf16 or fp16 logits, checked already, on a CUDA device (on a CPU only
    under Triton's interpreter)."""
    with_gradient = torch.is_grad_enabled() and student.requires_grad
    op = torch.ops.bistil_kernels.distillation_kl
    return op(student, teacher.detach(), float(temperature), valid, with_gradient)[0]


@triton.jit
def _count(valid_rows, N):
    """How many rows count, at least 1."""
    count = N.to(tl.float32) if valid_rows is None else tl.load(valid_rows).to(tl.float32)
    return tl.maximum(count, 1.0)


@triton.jit
def compare_rows(
    student,
    teacher,
    gradient,
    valid,
    valid_rows,
    losses,
    N,
    V,
    s_n,
    s_v,
    t_n,
    t_v,
    v_n,
    inverse_temperature,
    SCALED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """losses fp32 [N] and, unless it is None, gradient [N, V]: (SCALED) for upstream 1, or p_student − p_teacher."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = row < N
    real = inside
    at = row.to(tl.int64)
    if valid is not None:
        real = inside & (tl.load(valid + at * v_n, mask=inside, other=0) != 0)
    exists = (column < V)[None, :]
    wanted = real[:, None] & exists
    s = tl.load(student + at[:, None] * s_n + column[None, :] * s_v, mask=wanted, other=0.0).to(tl.float32)
    t = tl.load(teacher + at[:, None] * t_n + column[None, :] * t_v, mask=wanted, other=0.0).to(tl.float32)
    s = tl.where(exists, s * inverse_temperature, float("-inf"))
    t = tl.where(exists, t * inverse_temperature, float("-inf"))
    s -= tl.max(s, 1)[:, None]
    t -= tl.max(t, 1)[:, None]
    p_s, p_t = tl.exp(s), tl.exp(t)
    sum_s, sum_t = tl.sum(p_s, 1), tl.sum(p_t, 1)
    p_t /= sum_t[:, None]
    difference = t - tl.log(sum_t)[:, None] - (s - tl.log(sum_s)[:, None])
    loss = tl.sum(tl.where(p_t > 0, p_t * difference, 0.0), 1)  # an impossible entry costs nothing, inf − inf is NaN
    tl.store(losses + row, tl.where(real, loss, 0.0), mask=inside)
    if gradient is not None:
        d = p_s / sum_s[:, None] - p_t
        if SCALED:
            d *= inverse_temperature / _count(valid_rows, N)
        d = rounded(tl.where(wanted, d, 0.0), gradient.dtype.element_ty)
        tl.store(gradient + at[:, None] * V + column[None, :], d, mask=inside[:, None] & exists)


@triton.jit
def compare_long_rows(
    student,
    teacher,
    statistics,
    valid,
    losses,
    N,
    V,
    s_n,
    s_v,
    t_n,
    t_v,
    v_n,
    inverse_temperature,
    COLUMNS: tl.constexpr,
):
    """losses fp32 [N], and statistics fp32 [2, N]: the log-sum-exp of student and teacher at this temperature."""
    row = tl.program_id(0).to(tl.int64)
    real = True
    if valid is not None:
        real = tl.load(valid + row * v_n) != 0
    nothing = tl.full([], 0.0, tl.float32)
    max_s, max_t, sum_s, sum_t, cross = nothing + LEAST, nothing + LEAST, nothing, nothing, nothing
    if real:
        for first in range(0, V, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            exists = column < V
            at_s, at_t = column.to(tl.int64) * s_v, column.to(tl.int64) * t_v
            s = tl.load(student + row * s_n + at_s, mask=exists, other=float("-inf")).to(tl.float32)
            t = tl.load(teacher + row * t_n + at_t, mask=exists, other=float("-inf")).to(tl.float32)
            s *= inverse_temperature
            t *= inverse_temperature
            new_s, new_t = tl.maximum(max_s, tl.max(s)), tl.maximum(max_t, tl.max(t))
            p_t = tl.exp(t - new_t)
            shrink_t = tl.exp(max_t - new_t)
            sum_s = sum_s * tl.exp(max_s - new_s) + tl.sum(tl.exp(s - new_s))
            sum_t = sum_t * shrink_t + tl.sum(p_t)
            cross = cross * shrink_t + tl.sum(tl.where(p_t > 0, p_t * (t - s), 0.0))
            max_s, max_t = new_s, new_t
    # a row that does not count has sums of 0
    lse_s, lse_t = max_s + tl.log(sum_s), max_t + tl.log(sum_t)
    tl.store(losses + row, tl.where(real, cross / sum_t + (lse_s - lse_t), 0.0))
    tl.store(statistics + row, lse_s)
    tl.store(statistics + N + row, lse_t)


@triton.jit
def differentiate_long_rows(
    student,
    teacher,
    statistics,
    valid,
    factor,
    upstream,
    gradient,
    N,
    V,
    s_n,
    s_v,
    t_n,
    t_v,
    v_n,
    inverse_temperature,
    COLUMNS: tl.constexpr,
):
    """gradient [N, V]: (p_student − p_teacher) · factor · upstream."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    exists = column < V
    wanted = exists
    if valid is not None:
        wanted = exists & (tl.load(valid + row * v_n) != 0)
    at_s, at_t = column.to(tl.int64) * s_v, column.to(tl.int64) * t_v
    s = tl.load(student + row * s_n + at_s, mask=wanted, other=0.0).to(tl.float32)
    t = tl.load(teacher + row * t_n + at_t, mask=wanted, other=0.0).to(tl.float32)
    p_s = tl.exp(s * inverse_temperature - tl.load(statistics + row))
    p_t = tl.exp(t * inverse_temperature - tl.load(statistics + N + row))
    d = tl.where(wanted, (p_s - p_t) * (tl.load(factor) * tl.load(upstream)), 0.0)
    tl.store(gradient + row * V + column, rounded(d, gradient.dtype.element_ty), mask=exists)


@triton.jit
def finish_rows(losses, valid_rows, value, factor, N, inverse_temperature, APPLIED: tl.constexpr, BLOCK: tl.constexpr):
    """The mean loss, and what is left to multiply what is kept for backward by, beside the upstream gradient."""
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, N, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(losses + i, mask=i < N, other=0.0)
    count = _count(valid_rows, N)
    tl.store(value, tl.sum(total) / count)
    tl.store(factor, 1.0 if APPLIED else inverse_temperature / count)


def _buffers(student: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Value [], factor [1], and what backward needs: a gradient [N, V], statistics fp32 [2, N], or nothing [0]."""
    N, V = student.shape
    value, factor = (student.new_empty(shape, dtype=torch.float32) for shape in ((), (1,)))
    if V > LONGEST:
        return value, factor, student.new_empty((2, N), dtype=torch.float32)
    return value, factor, student.new_empty((N, V) if with_gradient else (0,))


@torch.library.custom_op(
    "bistil_kernels::distillation_kl",
    mutates_args=(),
    schema="(Tensor student, Tensor teacher, float temperature, Tensor? valid, bool with_gradient)"
    " -> (Tensor, Tensor, Tensor)",
)
def _forward(
    student: Tensor, teacher: Tensor, temperature: float, valid: Tensor | None, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    value, factor, kept = _buffers(student, with_gradient)
    N, V = student.shape
    if not student.numel():
        return value.zero_(), factor.fill_(1.0), kept.zero_()
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
        finish_rows[(1,)](losses, valid_rows, value, factor, N, 1.0 / temperature, APPLIED=applied, **FINISHING)
    return value, factor, kept


@_forward.register_fake
def _(student, teacher, temperature, valid, with_gradient):
    return _buffers(student, with_gradient)


@torch.library.custom_op(
    "bistil_kernels::distillation_kl_gradient",
    mutates_args=(),
    schema="(Tensor student, Tensor teacher, float temperature, Tensor? valid, Tensor statistics, Tensor factor,"
    " Tensor upstream) -> Tensor",
)
def _gradient(
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    valid: Tensor | None,
    statistics: Tensor,
    factor: Tensor,
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
            factor,
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
def _(student, teacher, temperature, valid, statistics, factor, upstream):
    return torch.empty_like(student, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, ctx.temperature, valid, ctx.with_gradient = inputs
    _, factor, kept = output
    ctx.dtype, ctx.is_long = student.dtype, student.shape[1] > LONGEST
    ctx.mark_non_differentiable(factor, kept)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(factor, kept, *((student, teacher, valid) if ctx.is_long else ()))


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    factor, kept, *inputs = ctx.saved_tensors
    gradient = None
    if upstream is not None and ctx.with_gradient:
        if ctx.is_long:
            student, teacher, valid = inputs
            op = torch.ops.bistil_kernels.distillation_kl_gradient
            gradient = op(student, teacher, ctx.temperature, valid, kept, factor, upstream)
        else:
            (gradient,) = scaled([kept], factor, upstream.reshape(1), [ctx.dtype])
    return gradient, None, None, None, None


_forward.register_autograd(_backward, setup_context=_setup_context)
