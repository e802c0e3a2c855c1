"""Triton kernels that count the entries of attention maps, and compute means over them."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def entries_of(counted, all_of_a_head, H):
    """Return how many entries ("mse") or rows ("kl") of a pair's maps the loss includes, at least 1.

    `counted` points to the number for one head, which `count_maps` wrote. If `counted` is None, `all_of_a_head` is that
    number.
    """
    one_head = all_of_a_head if counted is None else tl.load(counted)
    return tl.maximum(one_head * H, 1.0)


@triton.jit
def count_maps(
    mask, stops, counted, B, T, m_b, m_t,
    KL: tl.constexpr, MASK_QUERIES: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write `counted` (fp32 [1]) and `stops` (int32 [B]).

    `counted` is how many entries ("mse") or rows ("kl") the loss includes in the maps of one head, over all sequences.
    `stops` holds, for each sequence, the number of tokens up to and including its last real one.
    """
    found = tl.zeros([ROWS], tl.float32)
    for first_row in range(0, B, ROWS):
        row = first_row + tl.arange(0, ROWS)
        keys, stop = tl.zeros([ROWS], tl.int32), tl.zeros([ROWS], tl.int32)
        for first in range(0, T, BLOCK):
            token = first + tl.arange(0, BLOCK)
            where = mask + row.to(tl.int64)[:, None] * m_b + (token * m_t)[None, :]
            inside = (row < B)[:, None] & (token < T)[None, :]
            real = tl.load(where, mask=inside, other=0) != 0
            keys += tl.sum(real.to(tl.int32), 1)
            stop = tl.maximum(stop, tl.max(tl.where(real, token[None, :] + 1, 0), 1))
        tl.store(stops + row, stop, mask=row < B)
        queries = keys if MASK_QUERIES else tl.where(keys > 0, T, 0)
        entries = queries.to(tl.float32)
        found += entries if KL else entries * keys
    tl.store(counted, tl.sum(found))


@triton.jit
def finish_maps(
    partials, counted, values, factors, prepared, programs, H, all_of_a_head, upstream,
    KL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write for each pair to `values`, `factors` and `prepared`, fp32 [P] each.

    The value is the sum of the pair's partial sums, divided by the number n of entries or rows that the loss includes.
    The factor, which `key_gradients` needs, is 2/n for "mse" and 1/n for "kl". The prepared number is the upstream
    gradient by which `compare_maps` has already multiplied the queries' gradients. If the real upstream gradient
    differs, backward rescales the gradients with the help of this number.
    """
    pair = tl.program_id(0)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, programs, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(partials + pair * programs + i, mask=i < programs, other=0.0)
    entries = entries_of(counted, all_of_a_head, H)
    tl.store(values + pair, tl.sum(total) / entries)
    tl.store(factors + pair, (1.0 if KL else 2.0) / entries)
    tl.store(prepared + pair, upstream)
