"""Functions that the attention-map loss's kernels share: tiles of scores, softmax statistics, gradients at scores.

Scales include a factor 1 / ln 2, because e^x is computed as 2^(x / ln 2).
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.runtime.rounding import product, rounded

LN_2 = tl.constexpr(0.6931471805599453)
# fp16 gradients at scores are multiplied by LIFT, so that small ones do not vanish. None reaches 2, and 2 · LIFT fits.
LIFT = tl.constexpr(16384.0)


@triton.jit
def tokens(pointer, token, wanted, stride_t, stride_d, d: tl.constexpr, first, WIDTH: tl.constexpr):
    """Load WIDTH entries of each token's head, from entry `first` on: [tokens, WIDTH].

    The result is 0 for entries beyond d and for tokens that are not wanted, whatever memory holds there.
    """
    column = first + tl.arange(0, WIDTH)
    where = pointer + token.to(tl.int64)[:, None] * stride_t + (column * stride_d)[None, :]
    return tl.load(where, mask=wanted[:, None] & (column < d)[None, :], other=0.0)


@triton.jit
def store_gradient(into, found, b, h, token, T, H, d: tl.constexpr, left, WIDTH: tl.constexpr):
    """Store WIDTH entries of each token's gradient, from entry `left` of the head on, in `into` [B, T, H, d]."""
    column = left + tl.arange(0, WIDTH)
    where = into + ((b * T + token) * H + h)[:, None] * d + column[None, :]
    kept = rounded(found, into.dtype.element_ty)
    tl.store(where, kept, mask=(token < T)[:, None] & (column < d)[None, :])


@triton.jit
def real_tokens(mask, token, T, m_t, FULL: tl.constexpr):
    """Return which of these tokens are real. With FULL all are, and the code compiled for FULL compares nothing."""
    if FULL:
        return tl.full(token.shape, 1, tl.int1)
    inside = token < T
    if mask is not None:
        inside = inside & (tl.load(mask + token * m_t, mask=inside, other=0) != 0)
    return inside


@triton.jit
def stop_of(stops, b, T, own_real):
    """Return where a program stops reading a sequence: after the sequence's last real token, or at T without `stops`.

    With `stops`, a program whose own tokens are all padding reads nothing: it stops at 0.
    """
    if stops is None:
        return T
    else:
        return tl.where(tl.max(own_real.to(tl.int32), 0) > 0, tl.load(stops + b), 0)


@triton.jit
def seen_keys(query, key, real, window):
    """Return which keys each query sees: the real ones, and those within the window if there is one.

    `query` and `key` are positions that broadcast to a tile, as does `real`.
    """
    return real if window is None else real & (tl.abs(query - key) <= window)


@triton.jit
def span_of(window, own_first, stop, OWN: tl.constexpr, OTHER: tl.constexpr):
    """Return (start, stop) of the tokens that a program reads: with a window, only tiles that its OWN tokens reach."""
    if window is None:
        return 0, stop
    else:
        return tl.maximum(own_first - window, 0) // OTHER * OTHER, tl.minimum(stop, own_first + OWN + window)


@triton.jit
def products(
    own, own_at, own_token, own_real, own_t, own_d, other_at, token, real, other_t, other_d,
    d: tl.constexpr, WIDTH: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Return fp32 [own tokens, other tokens]: dot products of a program's own tokens with others.

    If PART is 0, whole heads are held on chip, otherwise PART entries of them at a time.
    """
    if PART == 0:
        return product(own, tl.trans(tokens(other_at, token, real, other_t, other_d, d, 0, WIDTH)))
    else:
        total = tl.zeros([own_token.shape[0], token.shape[0]], tl.float32)
        for first in range(0, d, PART):
            a = tokens(own_at, own_token, own_real, own_t, own_d, d, first, PART)
            b = tokens(other_at, token, real, other_t, other_d, d, first, PART)
            total += product(a, tl.trans(b))
        return total


@triton.jit
def of_keys(scores, seen, FULL: tl.constexpr):
    """Return the scores, with −inf where the query sees no key."""
    return scores if FULL else tl.where(seen, scores, float("-inf"))


@triton.jit
def _base(highest):
    """Return what to subtract from a row's scaled scores: their maximum, or 0 if the row sees no key.

    The maximum of such a row is −inf, and subtracting that would give NaN.
    """
    return tl.where(highest == float("-inf"), 0.0, highest)


@triton.jit
def online(state, s, t, scale_s, scale_t, KL: tl.constexpr):
    """Return each row's state after one more tile: running maxima and sums.

    The maxima are those of the scaled scores of student and teacher. The sums run over keys: Σ e_s, Σ e_t, and for
    "mse" also Σ e_s² and Σ e_s · e_t, where e_s = 2^(score − maximum) for the student, and e_t the same for the
    teacher. For a row that sees no key the maxima stay −inf and the sums 0.

    The state holds maxima that are scaled and rounded already. With unscaled maxima, the compiler would compute
    `high · scale − base` as a fused multiply-add. The result would not be exactly 0 if a tile does not change the
    maximum.
    """
    high_s, high_t, sum_s, sum_t, square, cross = state
    new_s, new_t = tl.maximum(high_s, tl.max(s, 1) * scale_s), tl.maximum(high_t, tl.max(t, 1) * scale_t)
    base_s, base_t = _base(new_s), _base(new_t)
    shrink_s, shrink_t = tl.exp2(high_s - base_s), tl.exp2(high_t - base_t)
    e_s, e_t = tl.exp2(s * scale_s - base_s[:, None]), tl.exp2(t * scale_t - base_t[:, None])
    sum_s = sum_s * shrink_s + tl.sum(e_s, 1)
    sum_t = sum_t * shrink_t + tl.sum(e_t, 1)
    if not KL:
        square = square * shrink_s * shrink_s + tl.sum(e_s * e_s, 1)
        cross = cross * shrink_s * shrink_t + tl.sum(e_s * e_t, 1)
    return new_s, new_t, sum_s, sum_t, square, cross


@triton.jit
def statistics(state):
    """Return each row's statistics: log2 Σ 2^score of student and of teacher, and Σ p_s · (p_s − p_t), over the keys.

    "mse" needs the third statistic for the derivative of softmax. All three are 0 for a row that sees no key; the
    probabilities of such a row are 0 too.

    The kernels compute the probabilities from the first two statistics, in fp32. Where scores are large, the rounded
    probabilities do not sum to 1 but to `total_s` and `total_t`. The third statistic takes this into account; otherwise
    its error would be as large as the difference between two similar maps.
    """
    high_s, high_t, sum_s, sum_t, square, cross = state
    some = sum_s > 0.0
    sum_s, sum_t = tl.where(some, sum_s, 1.0), tl.where(some, sum_t, 1.0)
    base_s, base_t = _base(high_s), _base(high_t)
    lse_s, lse_t = base_s + tl.log2(sum_s), base_t + tl.log2(sum_t)
    total_s, total_t = tl.exp2(base_s - lse_s) * sum_s, tl.exp2(base_t - lse_t) * sum_t
    delta = (square * (total_s / sum_s) - cross * (total_t / sum_t)) / sum_s
    return lse_s, lse_t, delta


@triton.jit
def logarithms(s, t, lse_s, lse_t, scale_s, scale_t):
    """Return log2 of the probabilities of student and teacher."""
    return s * scale_s - lse_s, t * scale_t - lse_t


@triton.jit
def terms(log_s, log_t, map_s, map_t, seen, KL: tl.constexpr, FULL: tl.constexpr):
    """Return each query's loss in a tile, summed over the tile's keys."""
    if KL:
        found = map_t * (log_t - log_s)
        return tl.sum(found if FULL else tl.where(seen, found, 0.0), 1) * LN_2
    else:
        difference = map_s - map_t
        return tl.sum(difference * difference, 1)


@triton.jit
def score_gradient(map_s, map_t, delta, dtype: tl.constexpr, KL: tl.constexpr):
    """Return the loss's derivative at each score (half of it for "mse"), or 0 where both maps are 0.

    In fp16 it is multiplied by LIFT. Callers multiply its product with queries or keys by a factor from `lowered`.
    """
    d = map_s - map_t
    if not KL:
        d = map_s * (d - delta)
    if dtype == tl.float16:
        d *= LIFT
    return rounded(d, dtype)


@triton.jit
def lowered(factor, dtype: tl.constexpr):
    """Return `factor` times ln 2, which undoes the 1 / ln 2 of the scales; in fp16, also divided by LIFT."""
    return factor * (LN_2 / LIFT) if dtype == tl.float16 else factor * LN_2
