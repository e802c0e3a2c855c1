"""Describe benchmark cases of the distillation losses: ours, eager PyTorch's, and Liger-Kernel's if it has the loss.

Letters: B sequences of T tokens (n = B·T in all), D the teacher's width and Ds the student's, H heads of width d, N
positions, V vocabulary entries, P layer pairs, e bytes for each element. No case has a mask: without one eager
PyTorch is at its fastest, so that the comparison does not favour our kernels, and the counted bytes are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

import torch
from bistil_kernels import attention_map_loss, distillation_kl, hidden_state_loss, linear_distillation_kl
from bistil_kernels.linear_logits.chunk_shape import chunk_shape, processors
from torch import Tensor
from torch.nn import functional as F

from bistil_ds.benchmarking.kernels.case import EAGER, LIGER, OURS, Aim, KernelCall, KernelCase

HEAD = 64  # width of an attention head of BERT and XLM-R
STUDENT_LAYERS = 6  # half as many as mBERT has
NARROW = 384  # width of the student in "projected": half of mBERT's
TEMPERATURE = 2.0
NOT_INSTALLED = "not installed"


def hidden_state(B: int, T: int, D: int, dtype: torch.dtype, device: torch.device, kind: str) -> KernelCase:
    """Return the case of `hidden_state_loss` on P layer pairs: forward and backward of the mean over pairs.

    `kind` is "mse", "cosine" or "projected". "projected" is "mse" with a student that is narrower than the teacher;
    matrices project the teacher's states to the student's width.
    """
    P, e, Ds = STUDENT_LAYERS + 1, dtype.itemsize, NARROW if kind == "projected" else D

    def build() -> Mapping[str, KernelCall | str]:
        student = [torch.randn(B, T, Ds, dtype=dtype, device=device, requires_grad=True) for _ in range(P)]
        teacher = [torch.randn(B, T, D, dtype=dtype, device=device) for _ in range(P)]
        matrices = [torch.randn(D, Ds, device=device) / D**0.5 for _ in range(P)] if Ds != D else None
        name = "cosine" if kind == "cosine" else "mse"

        def eager() -> Tensor:
            targets = teacher if matrices is None else [t @ w.to(dtype) for t, w in zip(teacher, matrices)]
            if kind == "cosine":
                values = [(1 - F.cosine_similarity(s, t, dim=-1)).mean() for s, t in zip(student, targets)]
            else:
                values = [F.mse_loss(s, t) for s, t in zip(student, targets)]
            return torch.stack(values).mean()

        ours = lambda: hidden_state_loss(student, teacher, None, matrices, name, upstream=1 / P).mean()  # noqa: E731
        return {OURS: KernelCall(ours, student), EAGER: KernelCall(eager, student)}

    aims = []
    if kind == "mse":
        aims = [Aim("copy_bandwidth", 0.85)] if (B, T) == (64, 512) else []
        aims += [Aim(EAGER, 3)] if (B, T) == (8, 256) else []
    moved, operations = P * B * T * e * (2 * Ds + D), 2.0 * P * B * T * D * Ds if Ds != D else 0.0
    return KernelCase(
        f"hidden_state_loss {kind}", _size(B, T, D), dtype, build, moved, "P·n·e·(2·Ds + D)", operations, aims
    )


def attention_map(B: int, T: int, D: int, dtype: torch.dtype, device: torch.device, kind: str) -> KernelCase:
    """Return the case of `attention_map_loss` on P layer pairs: forward and backward of the mean over pairs.

    `kind` is "mse" or "kl". Student and teacher have the same width D.
    """
    P, H, e = STUDENT_LAYERS, D // HEAD, dtype.itemsize
    one_tile = T <= 64

    def build() -> Mapping[str, KernelCall | str]:
        def draw() -> Tensor:  # queries or keys, with the strides that they have in a model
            return torch.randn(B, T, H, HEAD, dtype=dtype, device=device).transpose(1, 2)

        student = [(draw().requires_grad_(), draw().requires_grad_()) for _ in range(P)]
        teacher = [(draw(), draw()) for _ in range(P)]

        def eager() -> Tensor:
            values = []
            for (q_s, k_s), (q_t, k_t) in zip(student, teacher):
                scores_s, scores_t = (q @ k.transpose(-1, -2) * HEAD**-0.5 for q, k in ((q_s, k_s), (q_t, k_t)))
                if kind == "kl":
                    divergence = F.kl_div(scores_s.log_softmax(-1), scores_t.log_softmax(-1), log_target=True)
                    values.append(divergence * T)
                else:
                    values.append(F.mse_loss(scores_s.softmax(-1), scores_t.softmax(-1)))
            return torch.stack(values).mean()

        ours = lambda: attention_map_loss(student, teacher, None, kind, upstream=1 / P).mean()  # noqa: E731
        leaves = [x for pair in student for x in pair]
        return {OURS: KernelCall(ours, leaves), EAGER: KernelCall(eager, leaves)}

    aims = [Aim("roofline", 0.6), Aim(EAGER, 4 if T >= 512 else 2)] if T in (256, 512) else []
    inputs, rows = P * B * T * D * e, P * B * H * T
    moved, model = 10 * inputs + 24 * rows, "10·P·B·H·T·d·e + 24·P·B·H·T (inputs and gradients; statistics)"
    if device.type != "cuda":
        moved, model = 6 * inputs, "6·P·B·H·T·d·e"
    products = (6 if one_tile else 8) if device.type == "cuda" else 4
    operations = 2.0 * products * P * B * T * T * D
    return KernelCase(f"attention_map_loss {kind}", _size(B, T, D), dtype, build, moved, model, operations, aims)


def logits_kl(N: int, V: int, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Return the case of `distillation_kl`: forward and backward of the KL divergence between given logits [N, V]."""

    def build() -> Mapping[str, KernelCall | str]:
        student, teacher = (torch.randn(N, V, dtype=dtype, device=device) for _ in range(2))
        leaves = [student.requires_grad_()]

        def by(loss: Callable[[Tensor, Tensor], Tensor]) -> KernelCall:
            return KernelCall(lambda: loss(*((x / TEMPERATURE).log_softmax(-1) for x in (student, teacher))), leaves)

        ours = KernelCall(lambda: distillation_kl(student, teacher, TEMPERATURE), leaves)
        return {OURS: ours, EAGER: by(_eager_kl), LIGER: by(_liger_kl()) if _has_liger(device) else NOT_INSTALLED}

    passes = 3 if device.type == "cuda" and V <= 8192 else 5
    moved = passes * N * V * dtype.itemsize
    return KernelCase("distillation_kl", f"N {N}, V {V}", dtype, build, moved, f"{passes}·N·V·e")


def linear_kl(N: int, V: int, D: int, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Return the case of `linear_distillation_kl`: forward and backward of the KL divergence of two heads' logits."""

    def build() -> Mapping[str, KernelCall | str]:
        hidden, teacher_hidden = (torch.randn(N, D, dtype=dtype, device=device) for _ in range(2))
        weight, teacher_weight = (torch.randn(V, D, dtype=dtype, device=device).mul_(D**-0.5) for _ in range(2))
        inputs = hidden.requires_grad_(), weight.requires_grad_(), teacher_hidden, teacher_weight

        def eager() -> Tensor:
            logits = hidden @ weight.t(), teacher_hidden @ teacher_weight.t()
            return _eager_kl(*((x.float() / TEMPERATURE).log_softmax(-1) for x in logits))

        ways: dict[str, KernelCall | str] = {
            OURS: KernelCall(lambda: linear_distillation_kl(*inputs, temperature=TEMPERATURE), inputs[:2]),
            EAGER: KernelCall(eager, inputs[:2]),
            LIGER: NOT_INSTALLED,
        }
        if _has_liger(device):
            from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

            liger = LigerFusedLinearJSD(jsd_beta=0.0, temperature=TEMPERATURE)  # beta 0: KL(teacher ‖ student)
            ways[LIGER] = KernelCall(lambda: liger(*inputs, None), inputs[:2])
        return ways

    operations = 2.0 * D * (4 * N * V + (2 * (N * V - _made_once(N, V, device)) if device.type == "cuda" else 0))
    # CUDA reads both weights in each of two sweeps, a CPU reads them once. Both write the student weight's gradient.
    moved = (5 if device.type == "cuda" else 3) * V * D * dtype.itemsize
    model = f"{5 if device.type == 'cuda' else 3}·V·D·e (weights and the weight's gradient, from memory)"
    aims = [Aim("memory", 0.1, below=True), Aim(LIGER, 1)]
    return KernelCase(
        "linear_distillation_kl", f"N {N}, V {V}, width {D}", dtype, build, moved, model, operations, aims
    )


def _made_once(N: int, V: int, device: torch.device) -> int:
    """Return the number of logits in one head's last chunk; CUDA computes these once and all others twice."""
    available = processors(device) if torch.cuda.is_available() else 1  # so that cases can be listed without a GPU
    rows, columns = chunk_shape(N, V, available)
    return ((N - 1) % rows + 1) * ((V - 1) % columns + 1)


def _eager_kl(log_s: Tensor, log_t: Tensor) -> Tensor:
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def _liger_kl() -> Callable[[Tensor, Tensor], Tensor]:
    from liger_kernel.transformers.kl_div import LigerKLDIVLoss

    return LigerKLDIVLoss(reduction="batchmean", log_target=True)


def _has_liger(device: torch.device) -> bool:
    return device.type == "cuda" and find_spec("liger_kernel") is not None


def _size(B: int, T: int, D: int) -> str:
    return f"{B}×{T}, width {D}"
