"""Compare attention maps of student and teacher, from queries and keys (BiStil §3.1), in plain PyTorch.

B sequences, H heads, Hk heads of keys, T tokens, d the width of a student's head, d' that of a teacher's, P pairs of
layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bistil_kernels.attention_map import blocks
from bistil_kernels.attention_map.blocks import How, compare_in_blocks
from bistil_kernels.attention_map.layout import QueriesKeys, gradient_like
from bistil_kernels.attention_map.windows import bounded, counted_within, pairs_within
from bistil_kernels.runtime import dispatch
from bistil_kernels.runtime.checks import check_devices
from bistil_kernels.runtime.precision import compute_dtype, kept_dtype, scaled, without_autocast


def attention_map_loss(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: str = "mse",
    mask_queries: bool = True,
    upstream: float = 1.0,
    windows: Sequence[int | None] | None = None,
) -> Tensor:
    """Compare attention maps, softmax(q kᵀ / √d), of a student and its teacher; return one mean for each pair.

    Example:
        >>> even, sharp = torch.zeros(1, 1, 2, 2), 9 * torch.eye(2).view(1, 1, 2, 2)
        >>> attention_map_loss([(even, even)], [(sharp, sharp)], mask=None)  # weights of 1/2 against weights of 0 and 1
        tensor([0.2500])

    Args:
        student_qk: P tuples (queries [B, H, T, d], keys [B, Hk, T, d]), floating point, any strides. H is a multiple of
            Hk: the queries of H/Hk consecutive heads share a key head.
        teacher_qk: P tuples (queries [B, H, T, d'], keys [B, Hk', T, d']); they get no gradient.
        mask: bool [B, T], True on real tokens; None means that no token is padding. Padded keys have probability 0 and
            do not count.
        kind: "mse" (squared differences, mean over real (query, key) pairs and heads) or "kl" (KL(teacher ‖ student),
            mean over real queries and heads).
        mask_queries: if False, padded queries count too, as in the published code.
        upstream: the gradient that the caller expects each value to get in backward; it must not be 0. It is 1/P if the
            caller takes the mean of the values. Only speed and the last rounding depend on it; on a CPU no gain in
            speed was measured.
        windows: for each pair, how many tokens a query sees on either side, in student and teacher: key j of query i
            counts if |i − j| ≤ window. None, for a pair or for all, means that every key is seen.

    Returns:
        fp32 [P] (float64 for float64 students). A pair without a real token gives 0.

    Raises:
        ValueError: the numbers of tuples or windows, shapes, the mask's dtype or `kind` do not fit, queries or keys are
            on several devices, a window is negative, or `upstream` is 0.

    Let dq and dk be the gradients at the student's queries and keys. On CUDA, one Triton launch compares up to 32 pairs
    of the same dtypes, shapes, strides and window, and holds maps as tiles on chip. For each pair, dq (in fp32 for
    fp16) and 12·B·H·T bytes of statistics are kept for backward, which computes the tiles again for dk.
    `attention_map.fused` counts the bytes moved. Tiles outside the window are skipped: a pair costs O(T · window).

    On a CPU, maps exist only in blocks of at most max(2¹⁸, T · H/Hk) elements; a window makes them narrow. Gradients
    are computed together with the value, so both maps are computed once, and nothing of the teacher is kept for
    backward. Memory beyond inputs: dq and dk, the queries and keys of one sequence (or of several short ones, 2¹⁸
    elements of each), and a few blocks. Each pair with Hk = H moves 6·B·H·T·d elements. If the upstream gradient in
    backward is not `upstream`, backward moves 4·B·H·T·d more (for fp16 always). Products are computed in fp32, even
    under autocast.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    windows = [None] * len(student_qk) if windows is None else list(windows)
    _check(student_qk, teacher_qk, mask, kind, windows)
    if not upstream:
        raise ValueError("attention_map_loss: upstream is 0, expected what the values' gradient will be")
    if not student_qk:
        return torch.zeros(0)
    tensors = (x for pairs in (student_qk, teacher_qk) for pair in pairs for x in pair)
    if dispatch.runs_triton("attention_map", tensors):
        from bistil_kernels.attention_map import fused

        return fused.attention_map_loss(student_qk, teacher_qk, mask, kind, mask_queries, upstream, windows)
    values = []
    for student, teacher, window in zip(student_qk, teacher_qk, windows):
        how = How(kind, mask_queries, bounded(window, student[0].shape[2]))
        values.append(_AttentionMapLoss.apply(*student, *(x.detach() for x in teacher), mask, how, upstream))
    return torch.stack(values)


def _check(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: str,
    windows: Sequence[int | None],
) -> None:
    if kind not in ("mse", "kl"):
        raise ValueError(f"attention_map_loss: kind is {kind!r}, expected 'mse' or 'kl'")
    if len(student_qk) != len(teacher_qk):
        raise ValueError(
            f"attention_map_loss: {len(student_qk)} layers of the student, {len(teacher_qk)} of the teacher"
        )
    if len(windows) != len(student_qk) or any(window is not None and window < 0 for window in windows):
        raise ValueError(
            f"attention_map_loss: windows are {list(windows)}, expected {len(student_qk)}, each at least 0 or None"
        )
    for i, (student, teacher) in enumerate(zip(student_qk, teacher_qk)):
        q_s, _, q_t, _ = shapes = [list(x.shape) for x in (*student, *teacher)]
        if q_s[:3] != q_t[:3] or not all(_fit(*of_model) for of_model in (student, teacher)):
            raise ValueError(
                f"attention_map_loss: pair {i}: queries and keys {shapes} do not share [B, H, T] (keys: a divisor of H)"
            )
        if mask is not None and (mask.dtype != torch.bool or list(mask.shape) != [q_s[0], q_s[2]]):
            raise ValueError(f"attention_map_loss: mask is {mask.dtype} {list(mask.shape)}, expected bool [B, T]")
        devices, first = [x.device for x in (*student, *teacher)], student_qk[0][0].device
        if any(x != first for x in devices):
            raise ValueError(f"attention_map_loss: pair {i} on {[str(x) for x in devices]}, expected {first}")
        check_devices("attention_map_loss", first, {"mask": mask})


def _fit(queries: Tensor, keys: Tensor) -> bool:
    """Return whether these are [B, H, T, d] and [B, Hk, T, d], with H a multiple of Hk."""
    if queries.dim() != 4 or keys.dim() != 4:
        return False
    (B, H, *rest), (B_of_keys, heads, *rest_of_keys) = queries.shape, keys.shape
    return (B, rest) == (B_of_keys, rest_of_keys) and (heads == H or (heads > 0 and H % heads == 0))


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
        how: How,
        upstream: float,
    ) -> Tensor:
        B, H, T, d = q_s.shape
        dtype = compute_dtype(q_s.dtype)
        mean = 1.0 / max(_counted(mask_BT, B, H, T, how), 1)
        gradients: list[Tensor] = []
        weight = None
        if any(ctx.needs_input_grad[:2]):
            gradients = [gradient_like(x, kept_dtype(q_s.dtype)) for x in (q_s, k_s)]
            weight = upstream * mean * (2 if how.kind == "mse" else 1)  # `_squared_difference` gives half the gradient
        total = torch.zeros((), dtype=dtype, device=q_s.device)
        # sequences in a call: padding costs less than calls
        together = max(1, blocks.TILE // max(H * T * max(T, d), 1))
        for first in range(0, B, together):
            some = slice(first, first + together)
            four = [x[some].to(dtype) for x in (q_s, k_s, q_t, k_t)]
            mask = None if mask_BT is None else mask_BT[some]
            with without_autocast(q_s.device):
                if together > 1 or mask is None:
                    value, found = _padded(four, mask, how, weight)
                else:
                    value, found = _cut(four, mask, how, weight)
            total += value
            for gradient, into in zip(found, gradients):
                into[some] = gradient
        ctx.upstream, ctx.dtype = upstream, q_s.dtype
        ctx.save_for_backward(*gradients)
        return total * mean

    @staticmethod
    @dispatch.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        dq, dk = (scaled(x, upstream, ctx.dtype, ctx.upstream) for x in ctx.saved_tensors)
        return dq, dk, *[None] * 5


def _counted(mask_BT: Tensor | None, B: int, H: int, T: int, how: How) -> int:
    """Return how many entries ("mse") or rows ("kl") of a pair's maps count, over all heads."""
    if mask_BT is None:
        return B * H * (pairs_within(how.window, T) if how.kind == "mse" else T)
    if how.window is not None:
        return H * int(counted_within(how.window, mask_BT, how.kind == "kl", how.mask_queries))
    keys_B = mask_BT.sum(1)
    queries_B = keys_B if how.mask_queries else torch.full_like(keys_B, T)
    return H * int((queries_B * (keys_B if how.kind == "mse" else keys_B > 0)).sum())


def _padded(
    four_BHTd: list[Tensor], mask_BT: Tensor | None, how: How, weight: float | None
) -> tuple[Tensor, list[Tensor]]:
    """Return what `compare_in_blocks` returns, for whole sequences with their padding.

    Padded queries and keys are replaced by 0. So both maps of a padded query are equal and add nothing to the loss.
    Without `mask_queries`, padded queries stay as they are and count.
    """
    B, H, T, _ = four_BHTd[0].shape
    hidden, padding = None, {}
    if mask_BT is not None:
        hidden = ~mask_BT[:, None].expand(B, H, T).flatten(0, 1)[:, None]
        for n in {x.shape[1] for x in four_BHTd}:  # rows of padding among all rows, by number of heads
            padding[n] = (~mask_BT)[:, None].expand(B, n, T).flatten().nonzero().squeeze(1)
    heads = []
    for x, is_filled in zip(four_BHTd, (how.mask_queries, True) * 2):
        own = x.flatten(0, 1)
        if mask_BT is not None and is_filled:
            own = own.contiguous()
            own = own.clone() if own.data_ptr() == x.data_ptr() else own
            rows = own.view(len(own) * T, own.shape[-1])
            rows.index_fill_(0, padding[x.shape[1]], 0.0)  # masked_fill_ takes five times as long
        heads.append(own)
    token = torch.arange(T, device=heads[0].device)
    value, found = compare_in_blocks(heads, hidden, (token, token), how, weight)
    return value, [gradient.view(x.shape) for x, gradient in zip(four_BHTd, found)]


def _cut(four_1HTd: list[Tensor], mask_1T: Tensor, how: How, weight: float | None) -> tuple[Tensor, list[Tensor]]:
    """Return what `compare_in_blocks` returns, for the real tokens of one sequence only."""
    keys = mask_1T[0].nonzero().squeeze(1)
    queries = keys if how.mask_queries else torch.arange(mask_1T.shape[1], device=keys.device)
    picks = (queries, keys, queries, keys)
    real = [x[0].index_select(1, pick) for x, pick in zip(four_1HTd, picks)]
    value, found = compare_in_blocks(real, None, (queries, keys), how, weight)
    return value, [torch.zeros_like(x).index_copy_(2, p, g[None]) for x, p, g in zip(four_1HTd, picks, found)]
