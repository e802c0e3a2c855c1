"""Triton kernels of the attention-map loss. Maps exist as tiles in registers only.

B sequences, H heads, Hk heads of keys, T tokens, d the width of a head, P pairs. Each pair has queries [B, H, T, d] and
keys [B, Hk, T, d] with any strides; GROUP = H / Hk consecutive heads share a key head. With a `window`, a query sees
only keys at most that many tokens away. Statistics are fp32 [3, B, H, T] for each pair: the log2-sum-exp of the
student's and of the teacher's scores, and the sum over keys of p_s · (p_s − p_t), where p_s and p_t are the
probabilities in the student's and the teacher's map.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

from bistil_kernels.attention_map.means import entries_of
from bistil_kernels.attention_map.scores import (
    logarithms,
    lowered,
    of_keys,
    online,
    products,
    real_tokens,
    score_gradient,
    seen_keys,
    span_of,
    statistics,
    stop_of,
    store_gradient,
    terms,
    tokens,
)
from bistil_kernels.runtime.pairs import pointer_of
from bistil_kernels.runtime.rounding import product


@triton.jit
def compare_maps(
    queries_s, keys_s, queries_t, keys_t, stats, gradients, mask, stops, counted, partials,
    layer, T, H, qs_b, qs_h, qs_t, qs_d, ks_b, ks_h, ks_t, ks_d, qt_b, qt_h, qt_t, qt_d, kt_b, kt_h, kt_t, kt_d,
    m_b, m_t, window, scale_s, scale_t, all_of_a_head, upstream,
    d_s: tl.constexpr, d_t: tl.constexpr, WIDTH_S: tl.constexpr, WIDTH_T: tl.constexpr,
    GROUP_S: tl.constexpr, GROUP_T: tl.constexpr,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, FULL: tl.constexpr, ONE_TILE: tl.constexpr,
    OWN: tl.constexpr, OTHER: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Write partial sums of the loss, fp32 [P, programs], the statistics, and the gradients at the student's queries.

    There is one partial sum for each block of queries of each head. Gradients are [B, T, H, d], contiguous. If `stats`
    or `gradients` is None, it is not written.
    """
    pair, blocks = tl.program_id(1), tl.cdiv(T, OWN)
    head = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = head // H, head % H
    query, other = (tl.program_id(0) % blocks) * OWN + tl.arange(0, OWN), tl.arange(0, OTHER)
    if mask is not None:
        mask += b * m_b
    query_real = real_tokens(mask if MASK_QUERIES else None, query, T, m_t, FULL)
    q_s = pointer_of(queries_s, pair) + b * qs_b + h * qs_h
    k_s = pointer_of(keys_s, pair) + b * ks_b + h // GROUP_S * ks_h
    q_t = pointer_of(queries_t, pair) + b * qt_b + h * qt_h
    k_t = pointer_of(keys_t, pair) + b * kt_b + h // GROUP_T * kt_h
    own_s = None if PART else tokens(q_s, query, query_real, qs_t, qs_d, d_s, 0, WIDTH_S)
    own_t = None if PART else tokens(q_t, query, query_real, qt_t, qt_d, d_t, 0, WIDTH_T)
    nothing, zero = tl.full([OWN], float("-inf"), tl.float32), tl.zeros([OWN], tl.float32)
    state = nothing, nothing, zero, zero, zero, zero
    left = tl.program_id(2) * WIDTH_S
    value, found = zero, tl.zeros([OWN, WIDTH_S], tl.float32)
    start, stop = span_of(window, (tl.program_id(0) % blocks) * OWN, stop_of(stops, b, T, query_real), OWN, OTHER)
    if ONE_TILE:
        real = real_tokens(mask, other, T, m_t, FULL)
        s = products(own_s, q_s, query, query_real, qs_t, qs_d, k_s, other, real, ks_t, ks_d, d_s, WIDTH_S, PART)
        t = products(own_t, q_t, query, query_real, qt_t, qt_d, k_t, other, real, kt_t, kt_d, d_t, WIDTH_T, PART)
        seen = seen_keys(query[:, None], other[None, :], real[None, :], window)
        s, t = of_keys(s, seen, FULL), of_keys(t, seen, FULL)
        lse_s, lse_t, delta = statistics(online(state, s, t, scale_s, scale_t, KL))
        log_s, log_t = logarithms(s, t, lse_s[:, None], lse_t[:, None], scale_s, scale_t)
        map_s, map_t = tl.exp2(log_s), tl.exp2(log_t)
        value = terms(log_s, log_t, map_s, map_t, seen, KL, FULL)
        if gradients is not None:
            k = tokens(k_s, other, real, ks_t, ks_d, d_s, left, WIDTH_S)
            found = product(score_gradient(map_s, map_t, delta[:, None], k.dtype, KL), k)
    else:
        for first in range(start, stop, OTHER):
            key = first + other
            real = real_tokens(mask, key, T, m_t, FULL)
            s = products(own_s, q_s, query, query_real, qs_t, qs_d, k_s, key, real, ks_t, ks_d, d_s, WIDTH_S, PART)
            t = products(own_t, q_t, query, query_real, qt_t, qt_d, k_t, key, real, kt_t, kt_d, d_t, WIDTH_T, PART)
            seen = seen_keys(query[:, None], key[None, :], real[None, :], window)
            s, t = of_keys(s, seen, FULL), of_keys(t, seen, FULL)
            state = online(state, s, t, scale_s, scale_t, KL)
        lse_s, lse_t, delta = statistics(state)
        for first in range(start, stop, OTHER):
            key = first + other
            real = real_tokens(mask, key, T, m_t, FULL)
            s = products(own_s, q_s, query, query_real, qs_t, qs_d, k_s, key, real, ks_t, ks_d, d_s, WIDTH_S, PART)
            t = products(own_t, q_t, query, query_real, qt_t, qt_d, k_t, key, real, kt_t, kt_d, d_t, WIDTH_T, PART)
            seen = seen_keys(query[:, None], key[None, :], real[None, :], window)
            s, t = of_keys(s, seen, FULL), of_keys(t, seen, FULL)
            log_s, log_t = logarithms(s, t, lse_s[:, None], lse_t[:, None], scale_s, scale_t)
            map_s, map_t = tl.exp2(log_s), tl.exp2(log_t)
            value += terms(log_s, log_t, map_s, map_t, seen, KL, FULL)
            if gradients is not None:
                k = tokens(k_s, key, real, ks_t, ks_d, d_s, left, WIDTH_S)
                found += product(score_gradient(map_s, map_t, delta[:, None], k.dtype, KL), k)
    if tl.program_id(2) == 0:
        total = tl.sum(tl.where(query_real, value, 0.0))
        tl.store(partials + pair * tl.num_programs(0) + tl.program_id(0), total)
        if stats is not None:
            into = pointer_of(stats, pair) + head * T + query
            tl.store(into, lse_s, mask=query < T)
            tl.store(into + layer, lse_t, mask=query < T)
            tl.store(into + 2 * layer, delta, mask=query < T)
    if gradients is not None:
        factor = upstream * (1.0 if KL else 2.0) / entries_of(counted, all_of_a_head, H) * scale_s
        found = tl.where(query_real[:, None], found * lowered(factor, k_s.dtype.element_ty), 0.0)
        store_gradient(pointer_of(gradients, pair), found, b, h, query, T, H, d_s, left, WIDTH_S)


@triton.jit
def key_gradients(
    queries_s, keys_s, queries_t, keys_t, stats, gradients, mask, stops, factors, upstream,
    up_p, layer, T, H, qs_b, qs_h, qs_t, qs_d, ks_b, ks_h, ks_t, ks_d, qt_b, qt_h, qt_t, qt_d, kt_b, kt_h, kt_t, kt_d,
    m_b, m_t, window, scale_s, scale_t,
    d_s: tl.constexpr, d_t: tl.constexpr, WIDTH_S: tl.constexpr, WIDTH_T: tl.constexpr,
    GROUP_S: tl.constexpr, GROUP_T: tl.constexpr,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, FULL: tl.constexpr,
    OWN: tl.constexpr, OTHER: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Write the gradients at the student's keys, [B, T, Hk, d] contiguous for each pair. `H` is the student's Hk here.

    A program serves a block of keys of one head and loops over the queries of its group's heads. Tiles are [keys,
    queries] here, so that the last product needs no transpose. Without a window, scores need no mask: queries that do
    not count are read as 0, so their scores are finite and the last product multiplies their derivatives by 0. For keys
    that do not count, 0 is stored.
    """
    pair, blocks = tl.program_id(1), tl.cdiv(T, OWN)
    head = (tl.program_id(0) // blocks).to(tl.int64)
    b, h = head // H, head % H
    key, other = (tl.program_id(0) % blocks) * OWN + tl.arange(0, OWN), tl.arange(0, OTHER)
    if mask is not None:
        mask += b * m_b
    real = real_tokens(mask, key, T, m_t, FULL)
    all_q_s = pointer_of(queries_s, pair) + b * qs_b
    k_s = pointer_of(keys_s, pair) + b * ks_b + h * ks_h
    all_q_t = pointer_of(queries_t, pair) + b * qt_b
    all_k_t = pointer_of(keys_t, pair) + b * kt_b
    own_s = None if PART else tokens(k_s, key, real, ks_t, ks_d, d_s, 0, WIDTH_S)
    all_stats = pointer_of(stats, pair) + head * GROUP_S * T
    whole = stop_of(stops if MASK_QUERIES else None, b, T, real)
    start, stop = span_of(window, (tl.program_id(0) % blocks) * OWN, whole, OWN, OTHER)
    left = tl.program_id(2) * WIDTH_S
    found = tl.zeros([OWN, WIDTH_S], tl.float32)
    for i in tl.range(GROUP_S, disable_licm=True):  # what is hoisted out of both loops would spill on sm_80
        own_h = h * GROUP_S + i
        q_s, q_t, k_t = all_q_s + own_h * qs_h, all_q_t + own_h * qt_h, all_k_t + own_h // GROUP_T * kt_h
        own_t = None if PART else tokens(k_t, key, real, kt_t, kt_d, d_t, 0, WIDTH_T)
        stat = all_stats + i * T
        for first in range(start, stop, OTHER):
            query = first + other
            query_real = real_tokens(mask if MASK_QUERIES else None, query, T, m_t, FULL)
            s = products(own_s, k_s, key, real, ks_t, ks_d, q_s, query, query_real, qs_t, qs_d, d_s, WIDTH_S, PART)
            t = products(own_t, k_t, key, real, kt_t, kt_d, q_t, query, query_real, qt_t, qt_d, d_t, WIDTH_T, PART)
            lse_s = tl.load(stat + query, mask=query_real, other=0.0)
            lse_t = tl.load(stat + layer + query, mask=query_real, other=0.0)
            delta = tl.load(stat + 2 * layer + query, mask=query_real, other=0.0)
            if window is not None:
                seen = seen_keys(query[None, :], key[:, None], query_real[None, :], window)
                s, t = of_keys(s, seen, False), of_keys(t, seen, False)
            log_s, log_t = logarithms(s, t, lse_s[None, :], lse_t[None, :], scale_s, scale_t)
            q = tokens(q_s, query, query_real, qs_t, qs_d, d_s, left, WIDTH_S)
            found += product(score_gradient(tl.exp2(log_s), tl.exp2(log_t), delta[None, :], q.dtype, KL), q)
    factor = tl.load(factors + pair) * tl.load(upstream + pair * up_p) * scale_s
    found = tl.where(real[:, None], found * lowered(factor, k_s.dtype.element_ty), 0.0)
    store_gradient(pointer_of(gradients, pair), found, b, h, key, T, H, d_s, left, WIDTH_S)
