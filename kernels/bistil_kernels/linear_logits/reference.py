"""KL divergence between two linear heads over a vocabulary, in plain PyTorch, without holding all their logits.

N positions, V vocabulary entries, Ds and Dt the widths of student and teacher.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bistil_kernels.runtime import dispatch
from bistil_kernels.runtime.checks import check_devices
from bistil_kernels.runtime.precision import compute_dtype, kept_dtype, scaled

CHUNK = 1 << 21  # most logits of each head in a chunk (8 MiB in fp32); a chunk has at least one row


def linear_distillation_kl(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    *,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    temperature: float = 1.0,
    labels: Tensor | None = None,
    alpha_ce: float = 0.0,
    ignore_index: int = -100,
) -> Tensor:
    """Return KL(teacher ‖ student) of softmax((hidden @ weightᵀ + bias) / temperature), plus a cross-entropy.

    Example:
        >>> hidden, weight = torch.ones(3, 4), torch.rand(7, 4)
        >>> linear_distillation_kl(hidden, weight, hidden / 2, weight * 2)  # the logits are the same
        tensor(0.)

    The cross-entropy is that of the student with `labels`, at temperature 1, times `alpha_ce`. Both losses are means
    over the positions that count: those whose label is not `ignore_index`.

    Args:
        student_hidden: [N, Ds], floating point.
        student_weight: [V, Ds].
        teacher_hidden: [N, Dt].
        teacher_weight: [V, Dt]. The teacher's tensors get no gradient.
        student_bias, teacher_bias: [V].
        temperature: positive. The result is not multiplied by temperature².
        labels: int64 [N]; None means that every position counts (then `alpha_ce` must be 0).
        alpha_ce: factor of the cross-entropy.
        ignore_index: the label of positions that do not count.

    Returns:
        fp32 scalar (float64 for float64 students); 0 if no position counts.

    Raises:
        ValueError: shapes, devices, temperature or labels do not fit.
        RuntimeError: with `alpha_ce`, a label is neither in [0, V) nor `ignore_index`. A CUDA kernel cannot raise an
            error: there the value is NaN instead.

    Logits are computed in chunks, so there is no [N, V] buffer. On CUDA a chunk has up to 2048 positions and a part of
    the vocabulary (`linear_logits.fused` counts the bytes), and the host waits for the device once if there are labels.
    On other devices a chunk has a few positions and the whole vocabulary, at most max(2²¹, V) logits. Gradients of
    hidden, weight and bias are computed together with the value. So the weights are needed in forward only, and ZeRO-3
    gathers them only there. Under autocast, logits are products in autocast's dtype.

    Memory beyond inputs: the returned gradients and a few chunks. fp16 students need fp32 copies of these gradients. On
    other devices than CUDA, bf16 and fp16 also need fp32 copies of both weights and of the weight's gradient.

    Source: BiStil (arXiv 2306.01709), section 3.2, for the divergence.
    """
    N, V = student_hidden.shape[0], student_weight.shape[0]
    expected = {
        "student_weight": (student_weight, (V, student_hidden.shape[-1])),
        "teacher_hidden": (teacher_hidden, (N, teacher_hidden.shape[-1])),
        "teacher_weight": (teacher_weight, (V, teacher_hidden.shape[-1])),
        "student_bias": (student_bias, (V,)),
        "teacher_bias": (teacher_bias, (V,)),
        "labels": (labels, (N,)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"linear_distillation_kl: {name} is {list(tensor.shape)}, expected {list(shape)}")
    tensors = {name: tensor for name, (tensor, _) in expected.items()}
    check_devices("linear_distillation_kl", student_hidden.device, tensors)
    if not temperature > 0:
        raise ValueError(f"linear_distillation_kl: temperature is {temperature}, expected a positive number")
    if labels is None and alpha_ce:
        raise ValueError("linear_distillation_kl: alpha_ce needs labels")
    teacher = (
        teacher_hidden.detach(),
        teacher_weight.detach(),
        None if teacher_bias is None else teacher_bias.detach(),
    )
    student = (student_hidden, student_weight, student_bias)
    if dispatch.runs_triton("linear_logits", (x for x in (*student, *teacher) if x is not None)):
        from bistil_kernels.linear_logits import fused

        return fused.linear_distillation_kl(student, teacher, temperature, labels, alpha_ce, ignore_index)
    wanted = student if torch.is_grad_enabled() else [None if x is None else x.detach() for x in student]
    return _LinearKL.apply(*wanted, *teacher, temperature, labels, alpha_ce, ignore_index)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    logits = hidden.to(dtype) @ weight.t()
    return logits if bias is None else logits.add_(bias.to(dtype))


class _LinearKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        teacher_hidden: Tensor,
        teacher_weight: Tensor,
        teacher_bias: Tensor | None,
        temperature: float,
        labels_N: Tensor | None,
        alpha_ce: float,
        ignore_index: int,
    ) -> Tensor:
        dtype = compute_dtype(hidden_ND.dtype)
        N, V = hidden_ND.shape[0], weight_VD.shape[0]
        valid = None if labels_N is None else labels_N != ignore_index
        count = max(N if valid is None else int(valid.sum()), 1)
        weight, teacher_weight = weight_VD.to(dtype), teacher_weight.to(dtype)
        total = torch.zeros((), dtype=dtype, device=hidden_ND.device)
        need = ctx.needs_input_grad
        d_hidden = torch.zeros_like(hidden_ND, dtype=kept_dtype(hidden_ND.dtype)) if need[0] else None
        d_weight = torch.empty_like(weight) if need[1] else None
        d_bias = torch.zeros(V, dtype=dtype, device=weight.device) if need[2] else None
        positions = torch.arange(N, device=hidden_ND.device) if valid is None else valid.nonzero().squeeze(1)
        for i, rows in enumerate(positions.split(max(1, CHUNK // max(V, 1)))):
            hidden = hidden_ND[rows].to(dtype)
            logits = _logits(hidden, weight, bias_V, dtype)
            d_logits = None
            if alpha_ce and labels_N is not None:
                log_p = logits.log_softmax(-1)
                labels = labels_N[rows, None]
                total -= alpha_ce * log_p.gather(1, labels).sum()
                d_logits = log_p.exp_().scatter_add_(1, labels, log_p.new_full(labels.shape, -1.0)).mul_(alpha_ce)
            teacher_logits = _logits(teacher_hidden[rows], teacher_weight, teacher_bias, dtype)
            log_s, log_t = (torch.log_softmax(x.div_(temperature), -1, out=x) for x in (logits, teacher_logits))
            p_t = log_t.exp()
            total += log_t.sub_(log_s).mul_(p_t).sum()
            if not any(need[:3]):
                continue
            of_kl = log_s.exp_().sub_(p_t).mul_(1.0 / (temperature * count))
            d_logits = of_kl if d_logits is None else of_kl.add_(d_logits, alpha=1.0 / count)
            if d_hidden is not None:
                d_hidden[rows] = (d_logits @ weight).to(d_hidden.dtype)
            if d_weight is not None:
                d_weight.addmm_(d_logits.t(), hidden, beta=min(i, 1))  # 0 at first, as d_weight is uninitialised
            if d_bias is not None:
                d_bias += d_logits.sum(0)
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden_ND, weight_VD, bias_V)]
        kept = zip((d_hidden, d_weight, d_bias), ctx.dtypes)
        ctx.save_for_backward(*(None if g is None or t is None else g.to(kept_dtype(t)) for g, t in kept))
        return total / count

    @staticmethod
    @dispatch.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if g is None else scaled(g, upstream, t) for g, t in zip(ctx.saved_tensors, ctx.dtypes))
        return (*gradients, None, None, None, None, None, None, None)
