"""Compute the KL divergence of rows of logits that are read in pieces, with running maxima and sums.

s and t are logits of student and teacher, divided by the temperature. The state of a row is max s, Σ exp(s − max s),
max t, Σ exp(t − max t) and Σ exp(t − max t) · (t − s), over the pieces read so far.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

LEAST = tl.constexpr(-3.0e38)  # maximum before the first logit: not −inf, because −inf − (−inf) is NaN


@triton.jit
def taken_in(s, t, max_s, sum_s, max_t, sum_t, cross):
    """Return the state after one more piece of a row; s and t are −inf where the piece reaches beyond the row."""
    new_s, new_t = tl.maximum(max_s, tl.max(s)), tl.maximum(max_t, tl.max(t))
    p_t = tl.exp(t - new_t)
    shrink_t = tl.exp(max_t - new_t)
    sum_s = sum_s * tl.exp(max_s - new_s) + tl.sum(tl.exp(s - new_s))
    sum_t = sum_t * shrink_t + tl.sum(p_t)
    cross = cross * shrink_t + tl.sum(tl.where(p_t > 0, p_t * (t - s), 0.0))
    return new_s, sum_s, new_t, sum_t, cross


@triton.jit
def joined(max_s, sum_s, max_t, sum_t, cross, other_max_s, other_sum_s, other_max_t, other_sum_t, other_cross):
    """Return the state of a row from the states of two parts of the row."""
    new_s, new_t = tl.maximum(max_s, other_max_s), tl.maximum(max_t, other_max_t)
    shrink_t, other_shrink_t = tl.exp(max_t - new_t), tl.exp(other_max_t - new_t)
    sum_s = sum_s * tl.exp(max_s - new_s) + other_sum_s * tl.exp(other_max_s - new_s)
    sum_t = sum_t * shrink_t + other_sum_t * other_shrink_t
    return new_s, sum_s, new_t, sum_t, cross * shrink_t + other_cross * other_shrink_t
