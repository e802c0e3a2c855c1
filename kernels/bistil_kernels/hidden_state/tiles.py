"""Triton kernels of the hidden-state loss.

B sequences of T tokens, n = B·T, D the student's width (in which states are compared), Dt the teacher's, P pairs.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.runtime.pairs import pointer_of
from bistil_kernels.runtime.rounding import product, rounded


@triton.jit
def _load(pointer, row, column, D, width_stride, real):
    wanted = real[:, None] & (column < D)[None, :]
    return tl.load(pointer + row[:, None] + (column * width_stride)[None, :], mask=wanted, other=0.0)


@triton.jit
def _target(teacher, matrix, row, column, real, D, Dt, t_d, w_t, w_s, INNER: tl.constexpr):
    """Return a tile of the teacher's states in fp32, projected if there is a matrix.

    16-bit states are multiplied by two 16-bit matrices, whose sum is nearly the fp32 matrix.
    """
    if matrix is None:
        target = _load(teacher, row, column, D, t_d, real).to(tl.float32)
    else:
        target = tl.zeros([row.shape[0], column.shape[0]], tl.float32)
        for first in range(0, Dt, INNER):
            inner = first + tl.arange(0, INNER)
            states = _load(teacher, row, inner, Dt, t_d, real)
            wanted = (inner < Dt)[:, None] & (column < D)[None, :]
            where = matrix + (inner * w_t)[:, None] + (column * w_s)[None, :]
            weights = tl.load(where, mask=wanted, other=0.0).to(tl.float32)
            if states.dtype == tl.float32:
                target += product(states, weights)
            else:
                high = rounded(weights, states.dtype)
                target += product(states, high)
                target += product(states, rounded(weights - high.to(tl.float32), states.dtype))
    return target


@triton.jit
def compare_states(
    students,
    teachers,
    matrices,
    gradients,
    mask,
    real_tokens,
    partials,
    n,
    T,
    D,
    Dt,
    s_b,
    s_t,
    s_d,
    t_b,
    t_t,
    t_d,
    w_t,
    w_s,
    m_b,
    m_t,
    upstream,
    COSINE: tl.constexpr,
    HALVED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
):
    """Write partial sums, fp32 [P, programs], of squared differences or cosine distances; write gradients [n, D].

    The gradients are multiplied by `upstream`. With HALVED, half the differences of the states are written instead.
    students, teachers, matrices (or None) and gradients (or None) are tuples of P pointers. mask is bool [B, T] and
    real_tokens int64 [], or both are None.
    """
    pair = tl.program_id(1)
    student, teacher = pointer_of(students, pair), pointer_of(teachers, pair)
    matrix = None
    if matrices is not None:
        matrix = pointer_of(matrices, pair)
    count = n * 1.0 if real_tokens is None else tl.maximum(tl.load(real_tokens), 1).to(tl.float32)
    squares = tl.zeros([ROWS, COLUMNS], tl.float32)
    distances = tl.zeros([ROWS], tl.float32)
    for first in range(tl.program_id(0) * ROWS, n, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        b, t = (row // T).to(tl.int64), (row % T).to(tl.int64)
        inside = row < n
        real = inside
        if mask is not None:
            real = inside & (tl.load(mask + b * m_b + t * m_t, mask=inside, other=0) != 0)
        s_row, t_row = b * s_b + t * s_t, b * t_b + t * t_t
        if COSINE:
            ss, tt, st = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
            for left in range(0, D, COLUMNS):
                column = left + tl.arange(0, COLUMNS)
                s = _load(student, s_row, column, D, s_d, real).to(tl.float32)
                target = _target(teacher, matrix, t_row, column, real, D, Dt, t_d, w_t, w_s, INNER)
                ss += tl.sum(s * s, 1)
                tt += tl.sum(target * target, 1)
                st += tl.sum(s * target, 1)
            s_norm = tl.maximum(tl.sqrt(ss), 1.1754943508222875e-38)
            t_norm = tl.maximum(tl.sqrt(tt), 1.1754943508222875e-38)
            cosine = st / s_norm / t_norm
            distances += tl.where(real, 1.0 - cosine, 0.0)
        if (not COSINE) or gradients is not None:
            for left in range(0, D, COLUMNS):
                column = left + tl.arange(0, COLUMNS)
                s = _load(student, s_row, column, D, s_d, real).to(tl.float32)
                target = _target(teacher, matrix, t_row, column, real, D, Dt, t_d, w_t, w_s, INNER)
                if COSINE:
                    unit = s / s_norm[:, None] * cosine[:, None] - target / t_norm[:, None]
                    gradient = unit * (upstream / (s_norm * count))[:, None]
                else:
                    difference = s - target
                    squares += difference * difference
                    gradient = difference * (0.5 if HALVED else 2.0 * upstream / (count * D))
                if gradients is not None:
                    into = pointer_of(gradients, pair)
                    where = into + row.to(tl.int64)[:, None] * D + column[None, :]
                    kept = rounded(gradient, into.dtype.element_ty)
                    tl.store(where, kept, mask=inside[:, None] & (column < D)[None, :])
    total = tl.sum(distances) if COSINE else tl.sum(squares)
    tl.store(partials + pair * tl.num_programs(0) + tl.program_id(0), total)


@triton.jit
def finish(
    partials, real_tokens, values, upstreams, programs, n, width, upstream, HALVED: tl.constexpr, BLOCK: tl.constexpr
):
    """Write each pair's mean, and the upstream gradient for which the gradient in memory is right: fp32 [P] each.

    With HALVED, the gradient in memory is half the difference of the states.
    """
    pair = tl.program_id(0)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, programs, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(partials + pair * programs + i, mask=i < programs, other=0.0)
    count = n * 1.0 if real_tokens is None else tl.maximum(tl.load(real_tokens), 1).to(tl.float32)
    count = tl.maximum(count * width, 1.0)
    tl.store(values + pair, tl.sum(total) / count)
    tl.store(upstreams + pair, 0.25 * count if HALVED else upstream)
