"""The hidden-state loss (BiStil §3.1): its checks, the choice of Triton or PyTorch, and the PyTorch implementation.

B sequences, T tokens, Ds and Dt the widths of student and teacher, P pairs (a state of the student and the teacher's
that it is compared with).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bistil_kernels.runtime import dispatch
from bistil_kernels.runtime.checks import check_devices
from bistil_kernels.runtime.precision import compute_dtype, kept_dtype, scaled


def hidden_state_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    projections: Sequence[Tensor] | None = None,
    kind: str = "mse",
    *,
    upstream: float = 1.0,
) -> Tensor:
    """Compare aligned hidden states of a student and its teacher; return one mean for each pair.

    Example:
        >>> state = torch.ones(1, 2, 4)
        >>> hidden_state_loss([state, state], [state, state - 3], mask=None)
        tensor([0., 9.])

    Args:
        student: P states [B, T, Ds], floating point.
        teacher: P states [B, T, Dt]; Dt = Ds unless there are projections. They get no gradient.
        mask: bool [B, T], True on real tokens; None means that no token is padding.
        projections: P frozen matrices [Dt, Ds]; each teacher state is multiplied by the matrix of its pair first.
        kind: "mse" (squared differences, mean over real tokens and width) or "cosine" (1 − cosine, mean over real
            tokens).
        upstream: the gradient that the caller expects each value to get in backward; it must not be 0. It is 1/P if the
            caller takes the mean of the values. Only speed and the last rounding depend on it.

    Returns:
        fp32 [P] (float64 for float64 students). A pair without a real token gives 0.

    Raises:
        ValueError: the numbers of states, shapes, the mask's dtype or `kind` do not fit, tensors are on several
            devices, or `upstream` is 0.

    The gradient is computed together with the value, so nothing of the teacher is kept for backward. On CUDA two
    Triton launches serve up to 32 pairs of the same dtypes, shapes and strides.

    Bytes moved without projections, with n = B·T and e bytes an element: forward moves 3·P·n·Ds·e. If the upstream
    gradient in backward is not `upstream`, backward multiplies the gradients by it, which moves 2·P·n·Ds·e more (for
    fp16 always).

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    _check(student, teacher, mask, projections, kind)
    if not upstream:
        raise ValueError("hidden_state_loss: upstream is 0, expected what the values' gradient will be")
    if not student:
        return torch.zeros(0)
    if dispatch.runs_triton("hidden_state", [*student, *teacher]):
        from bistil_kernels.hidden_state import fused

        return fused.hidden_state_loss(student, teacher, mask, projections, kind, upstream)
    matrices: Sequence[Tensor | None] = projections or [None] * len(student)
    pairs = zip(student, teacher, matrices)
    return torch.stack([_HiddenStateLoss.apply(s, t.detach(), mask, w, kind, upstream) for s, t, w in pairs])


def _check(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    projections: Sequence[Tensor] | None,
    kind: str,
) -> None:
    if kind not in ("mse", "cosine"):
        raise ValueError(f"hidden_state_loss: kind is {kind!r}, expected 'mse' or 'cosine'")
    counts = [len(student), len(teacher)] + ([] if projections is None else [len(projections)])
    if len(set(counts)) > 1:
        raise ValueError(f"hidden_state_loss: numbers of student states, teacher states, projections differ: {counts}")
    for i, (s, t) in enumerate(zip(student, teacher)):
        if projections is not None and (projections[i].dim() != 2 or projections[i].shape[0] != t.shape[-1]):
            shape = list(projections[i].shape)
            raise ValueError(
                f"hidden_state_loss: pair {i}: projection {shape}, expected [{t.shape[-1]}, student's width]"
            )
        expected = t.shape if projections is None else (*t.shape[:-1], projections[i].shape[-1])
        if s.dim() != 3 or s.shape != expected:
            raise ValueError(f"hidden_state_loss: pair {i}: student {list(s.shape)} against teacher {list(t.shape)}")
        if not s.device == t.device == student[0].device:
            raise ValueError(f"hidden_state_loss: pair {i} on {s.device} and {t.device}, expected {student[0].device}")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != s.shape[:2]):
            raise ValueError(f"hidden_state_loss: mask is {mask.dtype} {list(mask.shape)}, expected bool [B, T]")
        projection = None if projections is None else projections[i]
        check_devices("hidden_state_loss", s.device, {"mask": mask, f"projection {i}": projection})


class _HiddenStateLoss(torch.autograd.Function):
    """Loss of one pair. Each pair is an autograd node, so that backward frees its gradient before the next pair."""

    @staticmethod
    def forward(
        ctx: Any,
        student_BTS: Tensor,
        teacher_BTD: Tensor,
        mask_BT: Tensor | None,
        projection_DS: Tensor | None,
        kind: str,
        upstream: float,
    ) -> Tensor:
        dtype = compute_dtype(student_BTS.dtype)
        target = teacher_BTD.to(dtype)
        if projection_DS is not None:
            target = target @ projection_DS.to(dtype)
        loss = _squared_error if kind == "mse" else _cosine_distance
        value, gradient = loss(student_BTS.to(dtype), target, mask_BT, upstream if ctx.needs_input_grad[0] else None)
        if gradient is not None:
            ctx.dtype, ctx.upstream = student_BTS.dtype, upstream
            ctx.save_for_backward(gradient.to(kept_dtype(student_BTS.dtype)))
        return value

    @staticmethod
    @dispatch.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return scaled(gradient, upstream, ctx.dtype, ctx.upstream), None, None, None, None, None


def _real_tokens(state: Tensor, mask_BT: Tensor | None) -> Tensor | int:
    return state.shape[0] * state.shape[1] if mask_BT is None else mask_BT.sum().clamp(min=1)


def _squared_error(
    student_BTD: Tensor, target_BTD: Tensor, mask_BT: Tensor | None, upstream: float | None
) -> tuple[Tensor, Tensor | None]:
    difference = student_BTD - target_BTD
    if mask_BT is not None:
        difference.masked_fill_(~mask_BT.unsqueeze(-1), 0.0)  # mask · difference would be NaN where padding is inf
    count = max(_real_tokens(difference, mask_BT) * difference.shape[-1], 1)
    rows = torch.linalg.vector_norm(difference, dim=-1)  # one dot product would lose five digits on millions of terms
    value = rows.square().sum() / count
    return value, None if upstream is None else difference.mul_(2.0 * upstream / count)


def _cosine_distance(
    student_BTD: Tensor, target_BTD: Tensor, mask_BT: Tensor | None, upstream: float | None
) -> tuple[Tensor, Tensor | None]:
    tiny = torch.finfo(student_BTD.dtype).tiny
    student_norm = student_BTD.norm(dim=-1, keepdim=True).clamp(min=tiny)
    target_unit = target_BTD / target_BTD.norm(dim=-1, keepdim=True).clamp(min=tiny)
    student_unit = student_BTD / student_norm
    cosine = (student_unit * target_unit).sum(-1, keepdim=True)
    distance = 1.0 - cosine
    if mask_BT is not None:
        distance = distance.masked_fill(~mask_BT.unsqueeze(-1), 0.0)
    count = _real_tokens(student_BTD, mask_BT)
    value = distance.sum() / max(count, 1)
    if upstream is None:
        return value, None
    gradient = student_unit.mul_(cosine).sub_(target_unit).mul_(upstream / (student_norm * max(count, 1)))
    if mask_BT is not None:
        gradient.masked_fill_(~mask_BT.unsqueeze(-1), 0.0)
    return value, gradient
