"""KL divergence between teacher and student distributions over a vocabulary, in plain PyTorch.

N positions, V vocabulary entries.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bistil_kernels.runtime import dispatch
from bistil_kernels.runtime.checks import check_devices
from bistil_kernels.runtime.precision import compute_dtype, kept_dtype, scaled

CHUNK = 1 << 20  # most logits in a chunk of rows; a chunk has at least one row


def distillation_kl(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, valid: Tensor | None = None
) -> Tensor:
    """Return KL(teacher ‖ student) of softmax(logits / temperature), averaged over valid positions.

    Example:
        >>> undecided, sure = torch.zeros(1, 2), torch.tensor([[0.0, 60.0]])
        >>> distillation_kl(undecided, sure)  # log 2
        tensor(0.6931)

    The result is not multiplied by temperature².

    Args:
        student_logits: [N, V], floating point.
        teacher_logits: [N, V]; gets no gradient.
        temperature: positive; BiStil uses 2 when it distils on a task.
        valid: bool [N], True on positions that count; None means that all count.

    Returns:
        fp32 scalar (float64 for float64 students); 0 if no position is valid.

    Raises:
        ValueError: shapes, devices or temperature do not fit.

    On CUDA, with e bytes an element, 3·N·V·e to 5·N·V·e bytes are moved. Beyond V = 8192 no [N, V] buffer is kept for
    backward (`logits.fused` explains this).

    On other devices rows are processed in chunks, and the gradient is computed together with the value. That moves
    3·N·V·e bytes. The gradient is kept for backward if the student needs one (in fp32 for fp16 students), but no other
    [N, V] buffer.

    Source: BiStil (arXiv 2306.01709), section 3.2.
    """
    if student_logits.dim() != 2 or student_logits.shape != teacher_logits.shape:
        shapes = f"{list(student_logits.shape)} and {list(teacher_logits.shape)}"
        raise ValueError(f"distillation_kl: student and teacher logits are {shapes}, expected the same [N, V]")
    if valid is not None and (valid.dtype != torch.bool or valid.shape != student_logits.shape[:1]):
        raise ValueError(f"distillation_kl: valid is {valid.dtype} {list(valid.shape)}, expected bool [N]")
    check_devices("distillation_kl", student_logits.device, {"teacher_logits": teacher_logits, "valid": valid})
    if not temperature > 0:
        raise ValueError(f"distillation_kl: temperature is {temperature}, expected a positive number")
    if dispatch.runs_triton("logits", [student_logits, teacher_logits]):
        from bistil_kernels.logits import fused

        return fused.distillation_kl(student_logits, teacher_logits, temperature, valid)
    return _DistillationKL.apply(student_logits, teacher_logits.detach(), temperature, valid)


class _DistillationKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student_NV: Tensor, teacher_NV: Tensor, temperature: float, valid_N: Tensor | None) -> Tensor:
        dtype = compute_dtype(student_NV.dtype)
        N, V = student_NV.shape
        count = max(N if valid_N is None else int(valid_N.sum()), 1)
        total = torch.zeros((), dtype=dtype, device=student_NV.device)
        gradient = torch.empty_like(student_NV, dtype=kept_dtype(student_NV.dtype)) if ctx.needs_input_grad[0] else None
        rows = max(1, CHUNK // max(V, 1))
        for first in range(0, N, rows):
            chunk = slice(first, first + rows)
            scaled_s, scaled_t = (torch.div(x[chunk].to(dtype), temperature) for x in (student_NV, teacher_NV))
            log_s, log_t = (torch.log_softmax(x, -1, out=x) for x in (scaled_s, scaled_t))
            p_t = log_t.exp()
            kl = log_t.sub_(log_s).mul_(p_t).sum(-1)
            difference = log_s.exp_().sub_(p_t)
            if valid_N is not None:
                kl = kl.masked_fill(~valid_N[chunk], 0.0)
                difference.masked_fill_(~valid_N[chunk, None], 0.0)
            total += kl.sum()
            if gradient is not None:
                gradient[chunk] = difference.mul_(1.0 / (temperature * count))
        if gradient is not None:
            ctx.dtype = student_NV.dtype
            ctx.save_for_backward(gradient)
        return total / count

    @staticmethod
    @dispatch.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return scaled(gradient, upstream, ctx.dtype), None, None, None
