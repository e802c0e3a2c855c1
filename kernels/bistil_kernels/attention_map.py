"""Distance between student and teacher attention maps, from queries and keys (BiStil §3.1).

B sequences, H heads, T tokens, d the width of a head (may differ between student and teacher), N = B·H maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bistil_kernels.precision import compute_dtype

AttentionMapKind = Literal["mse", "kl"]
QueriesKeys = tuple[Tensor, Tensor]

TILE = 1 << 17  # elements of one block of a map: 512 KiB in fp32, so that a block and its gradient stay in cache


def attention_map_loss(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: AttentionMapKind = "mse",
    mask_queries: bool = True,
) -> Tensor:
    """One mean for each pair of attention layers, between softmax(q kᵀ / √d) of student and teacher.

    "mse": the mean of squared differences over real (query, key) pairs and heads. "kl": the mean of
    KL(teacher ‖ student) over real queries and heads. Padded keys always get probability 0. Padded queries do not count,
    unless `mask_queries` is False: then every query does, as in the published code.

    Args:
        student_qk: P tuples (queries, keys), each [B, H, T, d], floating point, any strides.
        teacher_qk: P tuples (queries, keys), each [B, H, T, d']; they get no gradient.
        mask: bool [B, T], True on real tokens; None when all are real.

    Returns:
        fp32 [P] (float64 for float64 students). Nothing real gives 0; so does a sequence without a real token.

    Raises:
        ValueError: numbers of pairs, shapes or kind do not fit.

    Maps exist in blocks of at most max(2¹⁷, T) elements, never whole. Gradients are computed together with the value,
    which saves recomputing both maps and keeps nothing of the teacher: the workspace is the returned gradients and a
    few blocks.
    """
    _check(student_qk, teacher_qk, mask, kind)
    if not student_qk:
        return torch.zeros(0)
    return torch.stack(
        [
            _AttentionMapLoss.apply(q_s, k_s, q_t.detach(), k_t.detach(), mask, kind, mask_queries)
            for (q_s, k_s), (q_t, k_t) in zip(student_qk, teacher_qk)
        ]
    )


def _check(
    student_qk: Sequence[QueriesKeys], teacher_qk: Sequence[QueriesKeys], mask: Tensor | None, kind: str
) -> None:
    if kind not in ("mse", "kl"):
        raise ValueError(f"attention_map_loss: kind is {kind!r}, expected 'mse' or 'kl'")
    if len(student_qk) != len(teacher_qk):
        raise ValueError(f"attention_map_loss: {len(student_qk)} student layers against {len(teacher_qk)} of the teacher")
    for i, (student, teacher) in enumerate(zip(student_qk, teacher_qk)):
        shapes = [list(x.shape) for x in (*student, *teacher)]
        fits = shapes[0] == shapes[1] and shapes[2] == shapes[3] and shapes[0][:-1] == shapes[2][:-1]
        if len(shapes[0]) != 4 or not fits:
            raise ValueError(f"attention_map_loss: pair {i}: queries and keys {shapes} do not share [B, H, T]")
        if mask is not None and (mask.dtype != torch.bool or list(mask.shape) != [shapes[0][0], shapes[0][2]]):
            raise ValueError(f"attention_map_loss: mask is {mask.dtype} {list(mask.shape)}, expected bool [B, T]")


class _AttentionMapLoss(torch.autograd.Function):
    """One pair of layers."""

    @staticmethod
    def forward(
        ctx: Any, q_s: Tensor, k_s: Tensor, q_t: Tensor, k_t: Tensor, mask_BT: Tensor | None, kind: str, mask_queries: bool
    ) -> Tensor:
        value, gradients = _forward(q_s, k_s, q_t, k_t, mask_BT, kind, mask_queries, any(ctx.needs_input_grad[:2]))
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        dq, dk = (gradient * upstream.to(gradient.dtype) for gradient in ctx.saved_tensors)
        return dq, dk, None, None, None, None, None


def _forward(
    q_s: Tensor,
    k_s: Tensor,
    q_t: Tensor,
    k_t: Tensor,
    mask_BT: Tensor | None,
    kind: str,
    mask_queries: bool,
    with_gradient: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    dtype = compute_dtype(q_s.dtype)
    B, H, T, d = q_s.shape
    total = torch.zeros((), dtype=dtype, device=q_s.device)
    dq, dk = (torch.empty(B, H, T, d, dtype=dtype, device=q_s.device) for _ in range(2)) if with_gradient else (None, None)
    heads = max(1, min(H, TILE // max(T * T, 1)))
    rows = max(1, min(T, TILE // max(T, 1)))
    count = _count(B, H, T, mask_BT, kind, mask_queries)
    for b in range(B):
        real_T = None if mask_BT is None or bool(mask_BT[b].all()) else mask_BT[b]
        for h in range(0, H, heads):
            pick = (b, slice(h, h + heads))
            Ks, Kt = k_s[pick].to(dtype), k_t[pick].to(dtype)
            dk_tile = None
            for r in range(0, T, rows):
                block = (*pick, slice(r, r + rows))
                Qs, Qt = q_s[block].to(dtype), q_t[block].to(dtype)
                dropped = None if real_T is None else ~real_T
                if dropped is None:
                    counted = None
                else:
                    counted = real_T[r : r + rows] if mask_queries else real_T.any().expand(Qs.shape[1])
                S = torch.matmul(Qs, Ks.transpose(-1, -2)).mul_(d**-0.5)
                Z = torch.matmul(Qt, Kt.transpose(-1, -2)).mul_(Qt.shape[-1] ** -0.5)
                if dropped is not None:
                    S.masked_fill_(dropped, torch.finfo(dtype).min)
                    Z.masked_fill_(dropped, torch.finfo(dtype).min)
                if kind == "mse":
                    Ps = S.softmax(-1)
                    diff = Ps - Z.softmax(-1)
                    if dropped is not None:
                        diff.mul_(counted.unsqueeze(-1)).masked_fill_(dropped, 0.0)
                    total += diff.square().sum()
                    if with_gradient:
                        diff.mul_(Ps)
                        dS = diff.sub_(Ps * diff.sum(-1, keepdim=True)).mul_(2.0)
                else:
                    log_s, log_t = S.log_softmax(-1), Z.log_softmax(-1)
                    Pt = log_t.exp()
                    terms = Pt * (log_t - log_s)
                    dS = log_s.exp() - Pt
                    if dropped is not None:
                        terms = terms.masked_fill(dropped, 0.0) * counted.unsqueeze(-1)
                        dS.mul_(counted.unsqueeze(-1)).masked_fill_(dropped, 0.0)
                    total += terms.sum()
                if with_gradient:
                    dS.mul_(d**-0.5 / count)
                    torch.matmul(dS, Ks, out=dq[block])
                    part = torch.matmul(dS.transpose(-1, -2), Qs)
                    dk_tile = part if dk_tile is None else dk_tile.add_(part)
            if with_gradient:
                dk[pick] = dk_tile
    value = total / count
    return value, (dq.to(q_s.dtype), dk.to(k_s.dtype)) if with_gradient else ()


def _count(B: int, H: int, T: int, mask_BT: Tensor | None, kind: str, mask_queries: bool) -> int:
    if mask_BT is None:
        keys = queries = torch.full((B,), T)
    else:
        keys = mask_BT.sum(1)
        queries = keys if mask_queries else T * (keys > 0)
    return max(int((queries * keys if kind == "mse" else queries).sum()) * H, 1)
