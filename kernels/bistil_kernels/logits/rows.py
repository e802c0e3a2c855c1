"""Triton kernels of `distillation_kl`.

N positions, V vocabulary entries; logits are [N, V] with any strides.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.logits.online_kl import LEAST, taken_in
from bistil_kernels.runtime.rounding import rounded


@triton.jit
def _count(valid_rows, N):
    """Return the number of rows that count, but at least 1, in fp32."""
    # `N * 1.0` and not `N.to`, because Triton makes an N of 1 a constant, which has no `to`
    count = N * 1.0 if valid_rows is None else tl.load(valid_rows).to(tl.float32)
    return tl.maximum(count, 1.0)


@triton.jit
def compare_rows(
    student, teacher, gradient, valid, valid_rows, losses, N, V, s_n, s_v, t_n, t_v, v_n, inverse_temperature,
    SCALED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write losses fp32 [N] and, unless `gradient` is None, gradient [N, V].

    If SCALED, `gradient` gets the gradient of the mean loss, for an upstream gradient of 1. Otherwise it gets
    p_student − p_teacher.
    """
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = row < N
    real = inside
    at = row.to(tl.int64)
    if valid is not None:
        real = inside & (tl.load(valid + at * v_n, mask=inside, other=0) != 0)
    exists = (column < V)[None, :]
    wanted = real[:, None] & exists
    # int64, because the columns of a transposed tensor are far apart
    at_s, at_t = (column.to(tl.int64) * s_v)[None, :], (column.to(tl.int64) * t_v)[None, :]
    s = tl.load(student + at[:, None] * s_n + at_s, mask=wanted, other=0.0).to(tl.float32)
    t = tl.load(teacher + at[:, None] * t_n + at_t, mask=wanted, other=0.0).to(tl.float32)
    s = tl.where(exists, s * inverse_temperature, float("-inf"))
    t = tl.where(exists, t * inverse_temperature, float("-inf"))
    s -= tl.max(s, 1)[:, None]
    t -= tl.max(t, 1)[:, None]
    p_s, p_t = tl.exp(s), tl.exp(t)
    sum_s, sum_t = tl.sum(p_s, 1), tl.sum(p_t, 1)
    p_t /= sum_t[:, None]
    difference = t - tl.log(sum_t)[:, None] - (s - tl.log(sum_s)[:, None])
    loss = tl.sum(tl.where(p_t > 0, p_t * difference, 0.0), 1)  # 0 where p_t is 0: there the product may be NaN
    tl.store(losses + row, tl.where(real, loss, 0.0), mask=inside)
    if gradient is not None:
        d = p_s / sum_s[:, None] - p_t
        if SCALED:
            d *= inverse_temperature / _count(valid_rows, N)
        d = rounded(tl.where(wanted, d, 0.0), gradient.dtype.element_ty)
        tl.store(gradient + at[:, None] * V + column[None, :], d, mask=inside[:, None] & exists)


@triton.jit
def compare_long_rows(
    student, teacher, statistics, valid, losses, N, V, s_n, s_v, t_n, t_v, v_n, inverse_temperature,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write losses fp32 [N], and statistics fp32 [2, N]: log-sum-exps of student and teacher logits / temperature."""
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
            max_s, sum_s, max_t, sum_t, cross = taken_in(s, t, max_s, sum_s, max_t, sum_t, cross)
    # a row that does not count has sums of 0, so its loss would be NaN; `tl.where` makes it 0
    lse_s, lse_t = max_s + tl.log(sum_s), max_t + tl.log(sum_t)
    tl.store(losses + row, tl.where(real, cross / sum_t + (lse_s - lse_t), 0.0))
    tl.store(statistics + row, lse_s)
    tl.store(statistics + N + row, lse_t)


@triton.jit
def differentiate_long_rows(
    student, teacher, statistics, valid, prepared, upstream, gradient, N, V, s_n, s_v, t_n, t_v, v_n,
    inverse_temperature, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write gradient [N, V]: (p_student − p_teacher) · upstream / prepared, 0 in rows that do not count."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    exists = column < V
    wanted = exists
    if valid is not None:
        wanted = column < tl.where(tl.load(valid + row * v_n) != 0, V, 0)
    at_s, at_t = column.to(tl.int64) * s_v, column.to(tl.int64) * t_v
    s = tl.load(student + row * s_n + at_s, mask=wanted, other=0.0).to(tl.float32)
    t = tl.load(teacher + row * t_n + at_t, mask=wanted, other=0.0).to(tl.float32)
    p_s = tl.exp(s * inverse_temperature - tl.load(statistics + row))
    p_t = tl.exp(t * inverse_temperature - tl.load(statistics + N + row))
    d = tl.where(wanted, (p_s - p_t) * (tl.load(upstream) / tl.load(prepared)), 0.0)
    tl.store(gradient + row * V + column, rounded(d, gradient.dtype.element_ty), mask=exists)


@triton.jit
def finish_rows(
    losses, valid_rows, value, prepared, N, inverse_temperature, APPLIED: tl.constexpr, BLOCK: tl.constexpr
):
    """Write the mean loss to `value`, and to `prepared` the upstream gradient for which the kept gradient is right.

    With APPLIED, that is 1, because the kept gradient is that of the mean loss. Otherwise p_student − p_teacher is
    kept.
    """
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, N, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(losses + i, mask=i < N, other=0.0)
    count = _count(valid_rows, N)
    tl.store(value, tl.sum(total) / count)
    tl.store(prepared, 1.0 if APPLIED else count / inverse_temperature)
