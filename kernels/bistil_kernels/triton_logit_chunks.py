"""The Triton kernels of `linear_distillation_kl`, over fp32 chunks of logits [rows, columns] of n positions."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.triton_online_kl import taken_in
from bistil_kernels.triton_precision import rounded


@triton.jit
def _scaled_logits(logits, bias, row, column, exists, columns, first_column, inverse_temperature):
    x = tl.load(logits + row * columns + column, mask=exists, other=float("-inf"))
    if bias is not None:
        x += tl.load(bias + first_column + column, mask=exists, other=0.0).to(tl.float32)
    return x * inverse_temperature


@triton.jit
def accumulate_statistics(
    student, teacher, student_bias, teacher_bias, labels, state, n, columns, first_column, temperature,
    inverse_temperature, HARD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Take one chunk of logits, fp32 [rows, columns], into the state, fp32 [7, n].

    The state: maximum and sum of exponentials of student / T, of teacher / T, Σ exp(teacher / T − maximum) ·
    (teacher − student) / T, and (HARD) the student's sum of exponentials at temperature 1 and the label's logit.
    """
    row = tl.program_id(0).to(tl.int64)
    max_s, sum_s = tl.load(state + row), tl.load(state + n + row)
    max_t, sum_t = tl.load(state + 2 * n + row), tl.load(state + 3 * n + row)
    cross = tl.load(state + 4 * n + row)
    if HARD:
        sum_1, chosen = tl.load(state + 5 * n + row), tl.load(state + 6 * n + row)
        label = tl.load(labels + row) - first_column
    for first in range(0, columns, BLOCK):
        column = first + tl.arange(0, BLOCK)
        exists = column < columns
        s = _scaled_logits(student, student_bias, row, column, exists, columns, first_column, inverse_temperature)
        t = _scaled_logits(teacher, teacher_bias, row, column, exists, columns, first_column, inverse_temperature)
        before = max_s
        max_s, sum_s, max_t, sum_t, cross = taken_in(s, t, max_s, sum_s, max_t, sum_t, cross)
        if HARD:
            shrink_1 = tl.exp((before - max_s) * temperature)
            sum_1 = sum_1 * shrink_1 + tl.sum(tl.exp((s - max_s) * temperature))
            chosen += tl.sum(tl.where(exists & (column == label), s * temperature, 0.0))
    tl.store(state + row, max_s)
    tl.store(state + n + row, sum_s)
    tl.store(state + 2 * n + row, max_t)
    tl.store(state + 3 * n + row, sum_t)
    tl.store(state + 4 * n + row, cross)
    if HARD:
        tl.store(state + 5 * n + row, sum_1)
        tl.store(state + 6 * n + row, chosen)


@triton.jit
def differentiate_chunk(
    student, teacher, student_bias, teacher_bias, labels, state, gradient, n, columns, first_column, temperature,
    inverse_temperature, alpha_ce, HARD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """gradient [rows, columns]: of the sum of losses (not yet their mean) at a chunk of the student's logits."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    exists = column < columns
    s = _scaled_logits(student, student_bias, row, column, exists, columns, first_column, inverse_temperature)
    t = _scaled_logits(teacher, teacher_bias, row, column, exists, columns, first_column, inverse_temperature)
    s -= tl.load(state + row)
    p_s = tl.exp(s) / tl.load(state + n + row)
    p_t = tl.exp(t - tl.load(state + 2 * n + row)) / tl.load(state + 3 * n + row)
    d = (p_s - p_t) * inverse_temperature
    if HARD:
        p_1 = tl.exp(s * temperature) / tl.load(state + 5 * n + row)
        is_label = column == tl.load(labels + row) - first_column
        d += alpha_ce * (p_1 - tl.where(is_label, 1.0, 0.0))
    tl.store(gradient + row * columns + column, rounded(d, gradient.dtype.element_ty), mask=exists)


@triton.jit
def finish_positions(state, value, n, temperature, alpha_ce, HARD: tl.constexpr, BLOCK: tl.constexpr):
    """The mean loss."""
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        exists = i < n
        max_s, max_t = tl.load(state + i, mask=exists, other=0.0), tl.load(state + 2 * n + i, mask=exists, other=0.0)
        sum_s = tl.load(state + n + i, mask=exists, other=1.0)
        sum_t = tl.load(state + 3 * n + i, mask=exists, other=1.0)
        loss = tl.load(state + 4 * n + i, mask=exists, other=0.0) / sum_t
        loss += max_s + tl.log(sum_s) - (max_t + tl.log(sum_t))
        if HARD:
            sum_1 = tl.load(state + 5 * n + i, mask=exists, other=1.0)
            chosen = tl.load(state + 6 * n + i, mask=exists, other=0.0)
            loss += alpha_ce * (max_s * temperature + tl.log(sum_1) - chosen)
        total += loss
    tl.store(value, tl.sum(total) / n)
