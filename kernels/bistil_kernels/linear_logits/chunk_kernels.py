"""Triton kernels of `linear_distillation_kl`, over fp32 chunks of logits [rows, columns] of n positions.

The rows of a chunk are `stride` entries apart. The entries between a row's last column and the next row may hold
anything. The kernels read but do not use them, because reading whole rows can move 16 bytes at a time.

The state is fp32 [splits + 1, n, 8]. state[split] covers a part of the columns, and state[splits] covers all of them.
The 8 numbers of a position are one sector of memory (32 bytes). The first five are those of `logits.online_kl`. With
HARD (labels), two more follow: the student's sum of exponentials at temperature 1, and the label's logit.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.logits.online_kl import LEAST, joined, taken_in
from bistil_kernels.runtime.rounding import rounded

STATE = tl.constexpr(8)  # numbers for each position


@triton.jit
def _scaled_logits(logits, bias, row, column, exists, stride, first_column, inverse_temperature):
    x = tl.load(logits + row * stride + column, mask=column < stride, other=0.0)
    if bias is not None:
        x += tl.load(bias + first_column + column, mask=exists, other=0.0).to(tl.float32)
    return tl.where(exists, x * inverse_temperature, float("-inf"))


@triton.jit
def accumulate_statistics(
    student, teacher, student_bias, teacher_bias, labels, state, n, columns, stride, first_column, temperature,
    inverse_temperature, HARD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add one chunk of logits, fp32 [rows, columns], to the state. One program serves one row and one split."""
    row, split = tl.program_id(0).to(tl.int64), tl.program_id(1)
    at = state + (split.to(tl.int64) * n + row) * STATE
    max_s, sum_s, max_t, sum_t, cross = tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3), tl.load(at + 4)
    if HARD:
        sum_1, chosen = tl.load(at + 5), tl.load(at + 6)
        label = tl.load(labels + row) - first_column
    for first in range(split * BLOCK, columns, tl.num_programs(1) * BLOCK):
        column = first + tl.arange(0, BLOCK)
        exists = column < columns
        s = _scaled_logits(student, student_bias, row, column, exists, stride, first_column, inverse_temperature)
        t = _scaled_logits(teacher, teacher_bias, row, column, exists, stride, first_column, inverse_temperature)
        before = max_s
        max_s, sum_s, max_t, sum_t, cross = taken_in(s, t, max_s, sum_s, max_t, sum_t, cross)
        if HARD:
            shrink_1 = tl.exp((before - max_s) * temperature)
            sum_1 = sum_1 * shrink_1 + tl.sum(tl.exp((s - max_s) * temperature))
            chosen += tl.sum(tl.where(exists & (column == label), s * temperature, 0.0))
    tl.store(at, max_s)
    tl.store(at + 1, sum_s)
    tl.store(at + 2, max_t)
    tl.store(at + 3, sum_t)
    tl.store(at + 4, cross)
    if HARD:
        tl.store(at + 5, sum_1)
        tl.store(at + 6, chosen)


@triton.jit
def differentiate_chunk(
    student, teacher, student_bias, teacher_bias, labels, state, gradient, columns, stride, first_column, temperature,
    inverse_temperature, alpha_ce, HARD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the summed losses at a chunk of the student's logits to `gradient` [rows, columns].

    The gradient is not divided by the number of positions. `state` is the last entry of the state, which covers all
    columns.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    exists = column < columns
    s = _scaled_logits(student, student_bias, row, column, exists, stride, first_column, inverse_temperature)
    t = _scaled_logits(teacher, teacher_bias, row, column, exists, stride, first_column, inverse_temperature)
    at = state + row * STATE
    s -= tl.load(at)
    p_s = tl.exp(s) / tl.load(at + 1)
    p_t = tl.exp(t - tl.load(at + 2)) / tl.load(at + 3)
    d = (p_s - p_t) * inverse_temperature
    if HARD:
        p_1 = tl.exp(s * temperature) / tl.load(at + 5)
        is_label = column == tl.load(labels + row) - first_column
        d += alpha_ce * (p_1 - tl.where(is_label, 1.0, 0.0))
    tl.store(gradient + row * stride + column, rounded(d, gradient.dtype.element_ty), mask=column < stride)


@triton.jit
def finish_positions(
    state, value, n, splits, temperature, alpha_ce, HARD: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Join the states of all splits in the state's last entry, and write the mean loss to `value`."""
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        exists = i < n
        at = state + i.to(tl.int64) * STATE
        zeros = tl.zeros([BLOCK], tl.float32)
        max_s, max_t, sum_s, sum_t, sum_1, cross, chosen = (
            zeros + LEAST,
            zeros + LEAST,
            zeros,
            zeros,
            zeros,
            zeros,
            zeros,
        )
        for _ in range(splits):
            before, more = max_s, tl.load(at, mask=exists, other=0.0)
            max_s, sum_s, max_t, sum_t, cross = joined(
                max_s, sum_s, max_t, sum_t, cross, more, tl.load(at + 1, mask=exists, other=1.0),
                tl.load(at + 2, mask=exists, other=0.0), tl.load(at + 3, mask=exists, other=1.0),
                tl.load(at + 4, mask=exists, other=0.0),
            )  # fmt: skip
            if HARD:
                shrunk = tl.load(at + 5, mask=exists, other=1.0) * tl.exp((more - max_s) * temperature)
                sum_1 = sum_1 * tl.exp((before - max_s) * temperature) + shrunk
                chosen += tl.load(at + 6, mask=exists, other=0.0)
            at += n * STATE
        tl.store(at, max_s, mask=exists)
        tl.store(at + 1, sum_s, mask=exists)
        tl.store(at + 2, max_t, mask=exists)
        tl.store(at + 3, sum_t, mask=exists)
        loss = cross / sum_t + max_s + tl.log(sum_s) - (max_t + tl.log(sum_t))
        if HARD:
            tl.store(at + 5, sum_1, mask=exists)
            loss += alpha_ce * (max_s * temperature + tl.log(sum_1) - chosen)
        total += tl.where(exists, loss, 0.0)
    tl.store(value, tl.sum(total) / n)
