"""Attention maps in plain PyTorch, block by block, with the gradients at queries and keys.

H is the number of query heads of all sequences together, Hk that of key heads; the queries of H/Hk consecutive heads
share a key head. Grouped keys are never repeated: each product takes one query head of every group.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm
from typing import NamedTuple

import torch
from torch import Tensor

NOTHING = -1e30  # score of keys that are not seen; finite, because a row whose scores are all −inf gives NaN
TILE = 1 << 18  # most elements in a block of maps: 1 MiB in fp32, which stays in cache
SLIDING_ROWS = 64  # queries of a block under a small window; fewer would make products slow, more would waste them


class How(NamedTuple):
    """How the maps of one pair are compared: "mse" or "kl", whether padded queries are left out, and the window."""

    kind: str
    mask_queries: bool
    window: int | None


def compare_in_blocks(
    four: list[Tensor],
    hidden: Tensor | None,
    positions: tuple[Tensor, Tensor],
    how: How,
    weight: float | None,
) -> tuple[Tensor, list[Tensor]]:
    """Return the loss summed over all maps, and the gradients [dq, dk] of that sum times `weight`.

    For "mse" they are the gradients of half the sum times `weight`. Without a `weight` the list of gradients is empty.

    Args:
        four: queries [H, queries, d] and keys [Hk, keys, d] of the student, then those of the teacher. Their d and Hk
            may differ.
        hidden: bool [H, 1, keys], True on padding; None if there is none.
        positions: int64 [queries] and [keys], ascending: where the tokens are in their sequence.
        how: how maps are compared.
        weight: factor of the gradients.
    """
    q_s, k_s, q_t, k_t = four
    total = q_s.new_zeros(())
    scale_s, scale_t = (x.shape[-1] ** -0.5 if x.shape[-1] else 0.0 for x in (q_s, q_t))
    covers = min(q_s.shape[1], k_s.shape[1]) > 0 and how.window is None  # then every entry of the gradients is written
    new = torch.empty_like if covers else torch.zeros_like
    gradients = [new(q_s), new(k_s)] if weight is not None else []
    compare = _squared_difference if how.kind == "mse" else _divergence
    for heads, rows, columns in _blocks(four, positions, how.window):
        q, k = q_s[heads, rows], _keys(k_s, heads, columns, q_s)
        scores_s = _scores(q, k, scale_s)
        scores_t = _scores(q_t[heads, rows], _keys(k_t, heads, columns, q_t), scale_t)
        for scores in (scores_s, scores_t):
            if hidden is not None:
                scores.masked_fill_(hidden[heads, :, columns], NOTHING)
            if how.window is not None:
                apart = (positions[0][rows, None] - positions[1][columns]).abs_()
                scores.masked_fill_(apart > how.window, NOTHING)
        value, d_scores = compare(scores_s, scores_t, weight is not None)
        total += value
        if d_scores is not None and weight is not None:
            dq, dk = gradients[0][heads, rows], _keys(gradients[1], heads, columns, q_s)
            is_first = bool(covers and rows.start == 0)
            _add_gradients(dq, dk, d_scores, q, k, scale_s * weight, is_first)
    return total, gradients


def _keys(x: Tensor, heads: slice, columns: slice, queries: Tensor) -> Tensor:
    """Return the part of keys, or of their gradients, that belongs to some heads of the queries."""
    group = len(queries) // max(len(x), 1)
    return x[heads.start // group : -(-heads.stop // group), columns]


def _scores(q: Tensor, k: Tensor, factor: float) -> Tensor:
    """Return the scaled scores [H, queries, keys]."""
    group = len(q) // len(k)
    scores = q.new_empty(len(k), group, q.shape[1], k.shape[1])
    for i in range(group):
        out = scores[:, i]
        torch.baddbmm(out, q[i::group], k.transpose(1, 2), beta=0, alpha=factor, out=out)
    return scores.flatten(0, 1)


def _add_gradients(
    dq: Tensor, dk: Tensor, d_scores: Tensor, q: Tensor, k: Tensor, factor: float, is_first: bool
) -> None:
    """Write the gradients at queries, and add those at keys to `dk`, or write them where the block `is_first`."""
    group = len(q) // len(k)
    for i in range(group):
        out, d = dq[i::group], d_scores[i::group]
        torch.baddbmm(out, d, k, beta=0, alpha=factor, out=out)
        torch.baddbmm(dk, d.transpose(1, 2), q[i::group], beta=0 if is_first and i == 0 else 1, alpha=factor, out=dk)


def _blocks(
    four: list[Tensor], positions: tuple[Tensor, Tensor], window: int | None
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield slices of query heads, queries and keys whose maps have at most `TILE` elements.

    A block has at least one query of the heads that share a key head in one of the models. With a window it has only
    the keys that one of its queries may see.
    """
    q_s, k_s, _, k_t = four
    H, queries, keys = q_s.shape[0], q_s.shape[1], k_s.shape[1]
    if not queries or not keys or not H:
        return
    unit = lcm(H // len(k_s), H // len(k_t))
    rows = queries
    if window is not None:
        rows = min(queries, max(window, SLIDING_ROWS))
        keys = min(keys, rows + 2 * window)
    heads, rows = unit * max(1, TILE // (unit * rows * keys)), min(rows, max(1, TILE // (unit * keys)))
    spans = [(slice(r, r + rows), slice(0, keys)) for r in range(0, queries, rows)]
    if window is not None:
        spans = [(span, _seen(positions[0][span], positions[1], window)) for span, _ in spans]
    for h in range(0, H, heads):
        for span, columns in spans:
            if columns.stop > columns.start:
                yield slice(h, min(h + heads, H)), span, columns


def _seen(queries: Tensor, keys: Tensor, window: int) -> slice:
    """Return which keys lie in the window of one of the queries, from the ascending positions of both."""
    edges = torch.stack((queries[0] - window, queries[-1] + window + 1))
    return slice(*torch.searchsorted(keys, edges).tolist())


def _squared_difference(scores_s: Tensor, scores_t: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Return the sum of (softmax(s) − softmax(t))² and half its gradient at s; this overwrites s and t."""
    map_s, map_t = torch.softmax(scores_s, -1, out=scores_s), torch.softmax(scores_t, -1, out=scores_t)
    difference = torch.sub(map_s, map_t, out=map_t)
    value = difference.square().sum()
    if not with_gradient:
        return value, None
    weighted = difference.mul_(map_s)
    return value, weighted.addcmul_(map_s, weighted.sum(-1, keepdim=True), value=-1)


def _divergence(scores_s: Tensor, scores_t: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Return the sum of KL(softmax(t) ‖ softmax(s)) and its gradient at s."""
    log_s, log_t = scores_s.log_softmax(-1), scores_t.log_softmax(-1)
    map_t = log_t.exp()
    value = log_t.sub_(log_s).mul_(map_t).sum()
    return value, log_s.exp_().sub_(map_t) if with_gradient else None
