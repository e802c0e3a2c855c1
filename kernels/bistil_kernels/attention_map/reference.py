"""Compare attention maps of student and teacher, from queries and keys (BiStil §3.1), in plain PyTorch.

B sequences, H heads, T tokens, d the width of a student's head, d' that of a teacher's, P pairs of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bistil_kernels.runtime import dispatch
from bistil_kernels.runtime.checks import check_devices
from bistil_kernels.runtime.precision import compute_dtype, kept_dtype, scaled, without_autocast

QueriesKeys = tuple[Tensor, Tensor]

NOTHING = -1e30  # score of padded keys; finite, because a row whose scores are all −inf gives NaN
TILE = 1 << 18  # most elements in a block of maps: 1 MiB in fp32, which stays in cache


def attention_map_loss(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: str = "mse",
    mask_queries: bool = True,
    upstream: float = 1.0,
) -> Tensor:
    """Compare attention maps, softmax(q kᵀ / √d), of a student and its teacher; return one mean for each pair.

    Example:
        >>> even, sharp = torch.zeros(1, 1, 2, 2), 9 * torch.eye(2).view(1, 1, 2, 2)
        >>> attention_map_loss([(even, even)], [(sharp, sharp)], mask=None)  # weights of 1/2 against weights of 0 and 1
        tensor([0.2500])

    Args:
        student_qk: P tuples (queries, keys), each [B, H, T, d], floating point, any strides.
        teacher_qk: P tuples (queries, keys), each [B, H, T, d']; they get no gradient.
        mask: bool [B, T], True on real tokens; None means that no token is padding. Padded keys have probability 0 and
            do not count.
        kind: "mse" (squared differences, mean over real (query, key) pairs and heads) or "kl" (KL(teacher ‖ student),
            mean over real queries and heads).
        mask_queries: if False, padded queries count too, as in the published code.
        upstream: the gradient that the caller expects each value to get in backward; it must not be 0. It is 1/P if the
            caller takes the mean of the values. Only speed and the last rounding depend on it; on a CPU no gain in
            speed was measured.

    Returns:
        fp32 [P] (float64 for float64 students). A pair without a real token gives 0.

    Raises:
        ValueError: the numbers of tuples, shapes, the mask's dtype or `kind` do not fit, queries or keys are on several
            devices, or `upstream` is 0.

    Let dq and dk be the gradients at the student's queries and keys. On CUDA, one Triton launch compares up to 32 pairs
    of the same dtypes, shapes and strides, and holds maps as tiles on chip. For each pair, dq (in fp32 for fp16) and
    12·B·H·T bytes of statistics are kept for backward, which computes the tiles again for dk. `attention_map.fused`
    counts the bytes moved.

    On a CPU, maps exist only in blocks of at most max(2¹⁸, T) elements. Gradients are computed together with the value,
    so both maps are computed once, and nothing of the teacher is kept for backward. Memory beyond inputs: dq and dk,
    the queries and keys of one sequence (or of several short ones, 2¹⁸ elements of each), and a few blocks. Each pair
    moves 6·B·H·T·d elements. If the upstream gradient in backward is not `upstream`, backward moves 4·B·H·T·d more (for
    fp16 always). Products are computed in fp32, even under autocast.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    _check(student_qk, teacher_qk, mask, kind)
    if not upstream:
        raise ValueError("attention_map_loss: upstream is 0, expected what the values' gradient will be")
    if not student_qk:
        return torch.zeros(0)
    if dispatch.on_triton(x for pairs in (student_qk, teacher_qk) for pair in pairs for x in pair):
        from bistil_kernels.attention_map import fused

        return fused.attention_map_loss(student_qk, teacher_qk, mask, kind, mask_queries, upstream)
    return torch.stack(
        [
            _AttentionMapLoss.apply(*student, *(x.detach() for x in teacher), mask, kind, mask_queries, upstream)
            for student, teacher in zip(student_qk, teacher_qk)
        ]
    )


def _check(
    student_qk: Sequence[QueriesKeys], teacher_qk: Sequence[QueriesKeys], mask: Tensor | None, kind: str
) -> None:
    if kind not in ("mse", "kl"):
        raise ValueError(f"attention_map_loss: kind is {kind!r}, expected 'mse' or 'kl'")
    if len(student_qk) != len(teacher_qk):
        raise ValueError(
            f"attention_map_loss: {len(student_qk)} layers of the student, {len(teacher_qk)} of the teacher"
        )
    for i, (student, teacher) in enumerate(zip(student_qk, teacher_qk)):
        q_s, k_s, q_t, k_t = shapes = [list(x.shape) for x in (*student, *teacher)]
        if len(q_s) != 4 or q_s != k_s or q_t != k_t or q_s[:3] != q_t[:3]:
            raise ValueError(f"attention_map_loss: pair {i}: queries and keys {shapes} do not share [B, H, T]")
        if mask is not None and (mask.dtype != torch.bool or list(mask.shape) != [q_s[0], q_s[2]]):
            raise ValueError(f"attention_map_loss: mask is {mask.dtype} {list(mask.shape)}, expected bool [B, T]")
        devices, first = [x.device for x in (*student, *teacher)], student_qk[0][0].device
        if any(x != first for x in devices):
            raise ValueError(f"attention_map_loss: pair {i} on {[str(x) for x in devices]}, expected {first}")
        check_devices("attention_map_loss", first, {"mask": mask})


class _AttentionMapLoss(torch.autograd.Function):
    """Loss of one pair. Each pair is an autograd node, so that backward frees its gradients before the next pair."""

    @staticmethod
    def forward(
        ctx: Any,
        q_s: Tensor,
        k_s: Tensor,
        q_t: Tensor,
        k_t: Tensor,
        mask_BT: Tensor | None,
        kind: str,
        mask_queries: bool,
        upstream: float,
    ) -> Tensor:
        B, H, T, d = q_s.shape
        dtype = compute_dtype(q_s.dtype)
        mean = 1.0 / max(_counted(mask_BT, B, H, T, kind, mask_queries), 1)
        gradients, weight = None, None
        if any(ctx.needs_input_grad[:2]):  # memory layout [B, T, H, d], which suits the backward of the linear layers
            gradients = torch.empty(2, B, T, H, d, dtype=kept_dtype(q_s.dtype), device=q_s.device).transpose(2, 3)
            weight = upstream * mean * (2 if kind == "mse" else 1)  # `_squared_difference` gives half the gradient
        total = torch.zeros((), dtype=dtype, device=q_s.device)
        together = max(1, TILE // max(H * T * max(T, d), 1))  # sequences in a call: padding costs less than calls
        for first in range(0, B, together):
            some = slice(first, first + together)
            four = [x[some].to(dtype) for x in (q_s, k_s, q_t, k_t)]
            mask = None if mask_BT is None else mask_BT[some]
            with without_autocast(q_s.device):
                if together > 1 or mask is None:
                    value, found = _padded(four, mask, kind, mask_queries, weight)
                else:
                    value, found = _cut(four, mask, kind, mask_queries, weight)
            total += value
            for i, gradient in enumerate(found):
                gradients[i, some] = gradient  # type: ignore[index]
        ctx.upstream, ctx.dtype = upstream, q_s.dtype
        ctx.save_for_backward(*(() if gradients is None else gradients.unbind(0)))
        return total * mean

    @staticmethod
    @dispatch.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        dq, dk = (scaled(x, upstream, ctx.dtype, ctx.upstream) for x in ctx.saved_tensors)
        return dq, dk, *[None] * 6


def _counted(mask_BT: Tensor | None, B: int, H: int, T: int, kind: str, mask_queries: bool) -> int:
    """Return how many entries ("mse") or rows ("kl") of a pair's maps count, over all heads."""
    if mask_BT is None:
        return B * H * T * (T if kind == "mse" else 1)
    keys_B = mask_BT.sum(1)
    queries_B = keys_B if mask_queries else torch.full_like(keys_B, T)
    return H * int((queries_B * (keys_B if kind == "mse" else keys_B > 0)).sum())


def _padded(
    four_BHTd: list[Tensor], mask_BT: Tensor | None, kind: str, mask_queries: bool, weight: float | None
) -> tuple[Tensor, list[Tensor]]:
    """Return what `_all_maps` returns, for whole sequences with their padding.

    Padded queries and keys are replaced by 0. So both maps of a padded query are equal and add nothing to the loss.
    Without `mask_queries`, padded queries stay as they are and count.
    """
    B, H, T, _ = four_BHTd[0].shape
    hidden = None
    if mask_BT is not None:
        padding = ~mask_BT[:, None].expand(B, H, T).flatten(0, 1)
        hidden, rows = padding[:, None], padding.flatten().nonzero().squeeze(1)
    heads = []
    for x, is_filled in zip(four_BHTd, (mask_queries, True) * 2):
        own = x.flatten(0, 1)
        if hidden is not None and is_filled:
            own = own.contiguous()
            own = own.clone() if own.data_ptr() == x.data_ptr() else own
            own.view(B * H * T, own.shape[-1]).index_fill_(0, rows, 0.0)  # masked_fill_ takes five times as long
        heads.append(own)
    value, found = _all_maps(heads, hidden, kind, weight)
    return value, [gradient.view(x.shape) for x, gradient in zip(four_BHTd, found)]


def _cut(
    four_1HTd: list[Tensor], mask_1T: Tensor, kind: str, mask_queries: bool, weight: float | None
) -> tuple[Tensor, list[Tensor]]:
    """Return what `_all_maps` returns, for the real tokens of one sequence only."""
    keys = mask_1T[0].nonzero().squeeze(1)
    queries = keys if mask_queries else torch.arange(mask_1T.shape[1], device=keys.device)
    picks = (queries, keys, queries, keys)
    real = [x[0].index_select(1, pick) for x, pick in zip(four_1HTd, picks)]
    value, found = _all_maps(real, None, kind, weight)
    return value, [torch.zeros_like(x).index_copy_(2, p, g[None]) for x, p, g in zip(four_1HTd, picks, found)]


def _all_maps(
    four_HTd: list[Tensor], hidden: Tensor | None, kind: str, weight: float | None
) -> tuple[Tensor, list[Tensor]]:
    """Return the loss summed over all maps, and the gradients [dq, dk] of that sum times `weight`.

    For "mse", the gradients are half as large. Without a `weight`, the list of gradients is empty.
    All tensors are [H, tokens, d], where H counts the heads of all sequences. `hidden` (bool [H, 1, keys]) is True on
    padding.
    """
    q_s, k_s, q_t, k_t = four_HTd
    total = q_s.new_zeros(())
    scale_s, scale_t = (x.shape[-1] ** -0.5 if x.shape[-1] else 0.0 for x in (q_s, q_t))
    new = torch.empty_like if q_s.shape[1] and k_s.shape[1] else torch.zeros_like
    gradients = [new(q_s), new(k_s)] if weight is not None else []
    compare = _squared_difference if kind == "mse" else _divergence
    for heads, rows in _blocks(q_s.shape[0], q_s.shape[1], k_s.shape[1]):
        q, k = q_s[heads, rows], k_s[heads]
        scores_s = _product(q, k.transpose(1, 2), scale_s)
        scores_t = _product(q_t[heads, rows], k_t[heads].transpose(1, 2), scale_t)
        if hidden is not None:
            for scores in (scores_s, scores_t):
                scores.masked_fill_(hidden[heads], NOTHING)
        value, d_scores = compare(scores_s, scores_t, weight is not None)
        total += value
        if d_scores is not None and weight is not None:
            alpha = scale_s * weight
            dq, dk = gradients[0][heads, rows], gradients[1][heads]
            torch.baddbmm(dq, d_scores, k, beta=0, alpha=alpha, out=dq)
            torch.baddbmm(dk, d_scores.transpose(1, 2), q, beta=min(rows.start, 1), alpha=alpha, out=dk)
    return total, gradients


def _product(a: Tensor, b: Tensor, factor: float) -> Tensor:
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=factor)


def _blocks(H: int, queries: int, keys: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of heads and of queries whose maps have at most `TILE` elements (but at least one row)."""
    if not queries or not keys:
        return
    heads, rows = max(1, TILE // (queries * keys)), max(1, TILE // keys)
    for h in range(0, H, heads):
        for r in range(0, queries, rows):
            yield slice(h, h + heads), slice(r, r + rows)


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
