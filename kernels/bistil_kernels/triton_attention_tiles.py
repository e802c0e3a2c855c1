"""The Triton kernels of the attention-map loss. Maps exist as tiles in registers only.

Scores are in units of log 2, so that probabilities are powers of two. Tensors of a pair: queries and keys [B, H, T, d]
with any strides; statistics fp32 [3, B, H, T]: log2-sum-exp of the student's and of the teacher's scores, and for
"mse" the sum over keys of p_s · (p_s − p_t), which the softmax's derivative needs.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.triton_pairs import pointer_of
from bistil_kernels.triton_precision import product, rounded

LIFT = tl.constexpr(16384.0)  # keeps small gradients of scores in fp16's range: they are below 2, the LIFT of that fits


@triton.jit
def _tokens(pointer, token, wanted, stride_t, stride_d, d: tl.constexpr, first, WIDTH: tl.constexpr):
    """[tokens, WIDTH], from entry `first` of the head: 0 beyond d and for tokens not wanted, whatever they hold."""
    column = first + tl.arange(0, WIDTH)
    where = pointer + token.to(tl.int64)[:, None] * stride_t + (column * stride_d)[None, :]
    return tl.load(where, mask=wanted[:, None] & (column < d)[None, :], other=0.0)


@triton.jit
def _scores(
    own, own_at, own_token, own_real, own_t, own_d, other_at, token, real, other_t, other_d,
    d: tl.constexpr, WIDTH: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Products of a program's own tokens with others: whole heads held on chip, or PART entries of them at a time."""
    if PART == 0:
        return product(own, tl.trans(_tokens(other_at, token, real, other_t, other_d, d, 0, WIDTH)))
    else:
        total = tl.zeros([own_token.shape[0], token.shape[0]], tl.float32)
        for first in range(0, d, PART):
            a = _tokens(own_at, own_token, own_real, own_t, own_d, d, first, PART)
            b = _tokens(other_at, token, real, other_t, other_d, d, first, PART)
            total += product(a, tl.trans(b))
        return total


@triton.jit
def _real(mask, token, T, m_t, FULL: tl.constexpr):
    """Which of these tokens of a sequence are real. FULL: all, which spares every score a comparison."""
    if FULL:
        return tl.full(token.shape, 1, tl.int1)
    inside = token < T
    if mask is not None:
        inside = inside & (tl.load(mask + token * m_t, mask=inside, other=0) != 0)
    return inside


@triton.jit
def _online(highest, total, scores):
    """Running maximum and sum of 2^(score − maximum) of each row; a row without a real key stays at (−inf, 0)."""
    new = tl.maximum(highest, tl.max(scores, 1))
    base = tl.where(new == float("-inf"), 0.0, new)
    return new, total * tl.exp2(highest - base) + tl.sum(tl.exp2(scores - base[:, None]), 1)


@triton.jit
def _log_sum(highest, total):
    """log2 of the sum of 2^score; 0 for a row without a real key, whose probabilities then are 0 too."""
    some = total > 0.0
    return tl.where(some, highest + tl.log2(tl.where(some, total, 1.0)), 0.0)


@triton.jit
def _compared(s, t, lse_s, lse_t, keys_real, KL: tl.constexpr):
    """Sums over a tile's keys: of the loss's terms, and of p_s · (p_s − p_t)."""
    map_t = tl.exp2(t - lse_t[:, None])
    if KL:
        ratio = (t - lse_t[:, None]) - (s - lse_s[:, None])
        terms = tl.where(keys_real[None, :], map_t * ratio * 0.6931471805599453, 0.0)
        return tl.sum(terms, 1), tl.zeros_like(lse_s)
    else:
        map_s = tl.exp2(s - lse_s[:, None])
        difference = map_s - map_t
        return tl.sum(difference * difference, 1), tl.sum(difference * map_s, 1)


@triton.jit
def _score_gradient(s, t, lse_s, lse_t, delta, KL: tl.constexpr):
    """The loss's derivative at each score, up to the factor that both callers apply; 0 where a score is −inf."""
    map_s, map_t = tl.exp2(s - lse_s), tl.exp2(t - lse_t)
    if KL:
        return map_s - map_t
    else:
        return map_s * ((map_s - map_t) - delta)


@triton.jit
def compare_maps(
    queries_s, keys_s, queries_t, keys_t, stats, mask, partials, layer, T, H, scale_s, scale_t,
    qs_b, qs_h, qs_t, qs_d, ks_b, ks_h, ks_t, ks_d, qt_b, qt_h, qt_t, qt_d, kt_b, kt_h, kt_t, kt_d, m_b, m_t,
    d_s: tl.constexpr, d_t: tl.constexpr, WIDTH_S: tl.constexpr, WIDTH_T: tl.constexpr,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, FULL: tl.constexpr, ONE_TILE: tl.constexpr,
    OWN: tl.constexpr, OTHER: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Partial sums [P, programs], one for each block of queries of each head, and the statistics unless None."""
    pair, blocks = tl.program_id(1), tl.cdiv(T, OWN)
    head = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = head // H, head % H
    query = (tl.program_id(0) % blocks) * OWN + tl.arange(0, OWN)
    if mask is not None:
        mask += b * m_b
    query_real = _real(mask if MASK_QUERIES else None, query, T, m_t, FULL)
    q_s = pointer_of(queries_s, pair) + b * qs_b + h * qs_h
    k_s = pointer_of(keys_s, pair) + b * ks_b + h * ks_h
    q_t = pointer_of(queries_t, pair) + b * qt_b + h * qt_h
    k_t = pointer_of(keys_t, pair) + b * kt_b + h * kt_h
    own_s = None if PART else _tokens(q_s, query, query_real, qs_t, qs_d, d_s, 0, WIDTH_S)
    own_t = None if PART else _tokens(q_t, query, query_real, qt_t, qt_d, d_t, 0, WIDTH_T)
    if ONE_TILE:
        key = tl.arange(0, OTHER)
        real = _real(mask, key, T, m_t, FULL)
        s = _scores(own_s, q_s, query, query_real, qs_t, qs_d, k_s, key, real, ks_t, ks_d, d_s, WIDTH_S, PART)
        t = _scores(own_t, q_t, query, query_real, qt_t, qt_d, k_t, key, real, kt_t, kt_d, d_t, WIDTH_T, PART)
        s = tl.where(real[None, :], s * scale_s, float("-inf"))
        t = tl.where(real[None, :], t * scale_t, float("-inf"))
        nothing, zero = tl.full([OWN], float("-inf"), tl.float32), tl.zeros([OWN], tl.float32)
        high_s, sum_s = _online(nothing, zero, s)
        high_t, sum_t = _online(nothing, zero, t)
        lse_s, lse_t = _log_sum(high_s, sum_s), _log_sum(high_t, sum_t)
        value, delta = _compared(s, t, lse_s, lse_t, real, KL)
    else:
        high_s, sum_s = tl.full([OWN], float("-inf"), tl.float32), tl.zeros([OWN], tl.float32)
        high_t, sum_t = tl.full([OWN], float("-inf"), tl.float32), tl.zeros([OWN], tl.float32)
        for first in range(0, T, OTHER):
            key = first + tl.arange(0, OTHER)
            real = _real(mask, key, T, m_t, FULL)
            s = _scores(own_s, q_s, query, query_real, qs_t, qs_d, k_s, key, real, ks_t, ks_d, d_s, WIDTH_S, PART)
            t = _scores(own_t, q_t, query, query_real, qt_t, qt_d, k_t, key, real, kt_t, kt_d, d_t, WIDTH_T, PART)
            high_s, sum_s = _online(high_s, sum_s, tl.where(real[None, :], s * scale_s, float("-inf")))
            high_t, sum_t = _online(high_t, sum_t, tl.where(real[None, :], t * scale_t, float("-inf")))
        lse_s, lse_t = _log_sum(high_s, sum_s), _log_sum(high_t, sum_t)
        value, delta = tl.zeros([OWN], tl.float32), tl.zeros([OWN], tl.float32)
        for first in range(0, T, OTHER):
            key = first + tl.arange(0, OTHER)
            real = _real(mask, key, T, m_t, FULL)
            s = _scores(own_s, q_s, query, query_real, qs_t, qs_d, k_s, key, real, ks_t, ks_d, d_s, WIDTH_S, PART)
            t = _scores(own_t, q_t, query, query_real, qt_t, qt_d, k_t, key, real, kt_t, kt_d, d_t, WIDTH_T, PART)
            s = tl.where(real[None, :], s * scale_s, float("-inf"))
            t = tl.where(real[None, :], t * scale_t, float("-inf"))
            more_value, more_delta = _compared(s, t, lse_s, lse_t, real, KL)
            value += more_value
            delta += more_delta
    total = tl.sum(tl.where(query_real, value, 0.0))
    tl.store(partials + pair * tl.num_programs(0) + tl.program_id(0), total)
    if stats is not None:
        into = pointer_of(stats, pair) + head * T + query
        tl.store(into, lse_s, mask=query < T)
        tl.store(into + layer, lse_t, mask=query < T)
        tl.store(into + 2 * layer, delta, mask=query < T)


@triton.jit
def query_gradients(
    queries_s, keys_s, queries_t, keys_t, stats, gradients, mask, factors, upstream, up_p, layer,
    T, H, scale_s, scale_t,
    qs_b, qs_h, qs_t, qs_d, ks_b, ks_h, ks_t, ks_d, qt_b, qt_h, qt_t, qt_d, kt_b, kt_h, kt_t, kt_d, m_b, m_t,
    d_s: tl.constexpr, d_t: tl.constexpr, WIDTH_S: tl.constexpr, WIDTH_T: tl.constexpr,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, FULL: tl.constexpr,
    OWN: tl.constexpr, OTHER: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """dq of the student, each [B, T, H, d] contiguous: a program for each block of queries, over all keys."""
    pair, blocks = tl.program_id(1), tl.cdiv(T, OWN)
    head = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = head // H, head % H
    query = (tl.program_id(0) % blocks) * OWN + tl.arange(0, OWN)
    if mask is not None:
        mask += b * m_b
    query_real = _real(mask if MASK_QUERIES else None, query, T, m_t, FULL)
    q_s = pointer_of(queries_s, pair) + b * qs_b + h * qs_h
    k_s = pointer_of(keys_s, pair) + b * ks_b + h * ks_h
    q_t = pointer_of(queries_t, pair) + b * qt_b + h * qt_h
    k_t = pointer_of(keys_t, pair) + b * kt_b + h * kt_h
    own_s = None if PART else _tokens(q_s, query, query_real, qs_t, qs_d, d_s, 0, WIDTH_S)
    own_t = None if PART else _tokens(q_t, query, query_real, qt_t, qt_d, d_t, 0, WIDTH_T)
    stat = pointer_of(stats, pair) + head * T + query
    lse_s = tl.load(stat, mask=query_real, other=0.0)
    lse_t = tl.load(stat + layer, mask=query_real, other=0.0)
    delta = tl.load(stat + 2 * layer, mask=query_real, other=0.0)
    left = tl.program_id(2) * WIDTH_S
    found = tl.zeros([OWN, WIDTH_S], tl.float32)
    for first in range(0, T, OTHER):
        key = first + tl.arange(0, OTHER)
        real = _real(mask, key, T, m_t, FULL)
        s = _scores(own_s, q_s, query, query_real, qs_t, qs_d, k_s, key, real, ks_t, ks_d, d_s, WIDTH_S, PART)
        t = _scores(own_t, q_t, query, query_real, qt_t, qt_d, k_t, key, real, kt_t, kt_d, d_t, WIDTH_T, PART)
        s = tl.where(real[None, :], s * scale_s, float("-inf"))
        t = tl.where(real[None, :], t * scale_t, float("-inf"))
        d_scores = _score_gradient(s, t, lse_s[:, None], lse_t[:, None], delta[:, None], KL)
        k = _tokens(k_s, key, real, ks_t, ks_d, d_s, left, WIDTH_S)
        found += product(rounded(d_scores * LIFT, k.dtype), k)
    factor = tl.load(factors + pair) * tl.load(upstream + pair * up_p) * (scale_s * 0.6931471805599453)
    found = tl.where(query_real[:, None], found * (1.0 / LIFT) * factor, 0.0)
    _store_gradient(pointer_of(gradients, pair), found, b, h, query, T, H, d_s, left, WIDTH_S)


@triton.jit
def key_gradients(
    queries_s, keys_s, queries_t, keys_t, stats, gradients, mask, factors, upstream, up_p, layer,
    T, H, scale_s, scale_t,
    qs_b, qs_h, qs_t, qs_d, ks_b, ks_h, ks_t, ks_d, qt_b, qt_h, qt_t, qt_d, kt_b, kt_h, kt_t, kt_d, m_b, m_t,
    d_s: tl.constexpr, d_t: tl.constexpr, WIDTH_S: tl.constexpr, WIDTH_T: tl.constexpr,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, FULL: tl.constexpr,
    OWN: tl.constexpr, OTHER: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """dk of the student, each [B, T, H, d] contiguous: a program for each block of keys, over all queries.

    Tiles are [keys, queries] here, so that the last product takes them as they are. Queries that do not count need no
    mask: they are read as 0, so their finite scores are multiplied by 0."""
    pair, blocks = tl.program_id(1), tl.cdiv(T, OWN)
    head = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = head // H, head % H
    key = (tl.program_id(0) % blocks) * OWN + tl.arange(0, OWN)
    if mask is not None:
        mask += b * m_b
    real = _real(mask, key, T, m_t, FULL)
    q_s = pointer_of(queries_s, pair) + b * qs_b + h * qs_h
    k_s = pointer_of(keys_s, pair) + b * ks_b + h * ks_h
    q_t = pointer_of(queries_t, pair) + b * qt_b + h * qt_h
    k_t = pointer_of(keys_t, pair) + b * kt_b + h * kt_h
    own_s = None if PART else _tokens(k_s, key, real, ks_t, ks_d, d_s, 0, WIDTH_S)
    own_t = None if PART else _tokens(k_t, key, real, kt_t, kt_d, d_t, 0, WIDTH_T)
    stat = pointer_of(stats, pair) + head * T
    left = tl.program_id(2) * WIDTH_S
    found = tl.zeros([OWN, WIDTH_S], tl.float32)
    for first in range(0, T, OTHER):
        query = first + tl.arange(0, OTHER)
        query_real = _real(mask if MASK_QUERIES else None, query, T, m_t, FULL)
        s = _scores(own_s, k_s, key, real, ks_t, ks_d, q_s, query, query_real, qs_t, qs_d, d_s, WIDTH_S, PART)
        t = _scores(own_t, k_t, key, real, kt_t, kt_d, q_t, query, query_real, qt_t, qt_d, d_t, WIDTH_T, PART)
        s = tl.where(real[:, None], s * scale_s, float("-inf"))
        t = tl.where(real[:, None], t * scale_t, float("-inf"))
        lse_s = tl.load(stat + query, mask=query_real, other=0.0)
        lse_t = tl.load(stat + layer + query, mask=query_real, other=0.0)
        delta = tl.load(stat + 2 * layer + query, mask=query_real, other=0.0)
        d_scores = _score_gradient(s, t, lse_s[None, :], lse_t[None, :], delta[None, :], KL)
        q = _tokens(q_s, query, query_real, qs_t, qs_d, d_s, left, WIDTH_S)
        found += product(rounded(d_scores * LIFT, q.dtype), q)
    factor = tl.load(factors + pair) * tl.load(upstream + pair * up_p) * (scale_s * 0.6931471805599453)
    found = tl.where(real[:, None], found * (1.0 / LIFT) * factor, 0.0)
    _store_gradient(pointer_of(gradients, pair), found, b, h, key, T, H, d_s, left, WIDTH_S)


@triton.jit
def _store_gradient(into, found, b, h, token, T, H, d: tl.constexpr, left, WIDTH: tl.constexpr):
    column = left + tl.arange(0, WIDTH)
    where = into + ((b * T + token) * H + h)[:, None] * d + column[None, :]
    kept = rounded(found, into.dtype.element_ty)
    tl.store(where, kept, mask=(token < T)[:, None] & (column < d)[None, :])


@triton.jit
def finish_maps(
    partials, mask, values, factors, programs, B, T, H, m_b, m_t,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The means from the partial sums, and the factor of the gradients: 1 / (what counts), twice that for "mse"."""
    pair = tl.program_id(0)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, programs, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(partials + pair * programs + i, mask=i < programs, other=0.0)
    counted = tl.zeros([ROWS], tl.float32)
    for first_row in range(0, B, ROWS):
        row = first_row + tl.arange(0, ROWS)
        keys = tl.where(row < B, T, 0)
        if mask is not None:
            keys = tl.zeros([ROWS], tl.int32)
            for first in range(0, T, BLOCK):
                token = first + tl.arange(0, BLOCK)
                where = mask + row.to(tl.int64)[:, None] * m_b + (token * m_t)[None, :]
                inside = (row < B)[:, None] & (token < T)[None, :]
                keys += tl.sum((tl.load(where, mask=inside, other=0) != 0).to(tl.int32), 1)
        queries = keys if MASK_QUERIES else tl.where(keys > 0, T, 0)
        entries = queries.to(tl.float32)
        counted += entries if KL else entries * keys
    count = tl.maximum(tl.sum(counted) * H, 1.0)
    tl.store(values + pair, tl.sum(total) / count)
    tl.store(factors + pair, (1.0 if KL else 2.0) / count)
