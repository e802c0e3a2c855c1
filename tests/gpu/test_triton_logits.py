"""Test the logit losses on a CUDA device, at the sizes of BERT's and XLM-R's vocabularies."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from bistil_kernels import distillation_kl, linear_distillation_kl
from bistil_kernels.linear_logits.chunk_shape import chunk_shape, processors
from kernel_cases.exactness import ALLOWANCE
from torch import Tensor
from torch.nn import functional as F

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def plain(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> Tensor:
    log_s, log_t = (student_NV / temperature).log_softmax(-1), (teacher_NV / temperature).log_softmax(-1)
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def assert_near(found: Sequence[Tensor], rough: Sequence[Tensor], exact: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Apply the rule of `exactness` to tensors that are already computed."""
    for ours, theirs, reference in zip(found, rough, exact):
        scale = reference.abs().max()
        error, allowed = ((x.double() - reference).abs().max() / scale for x in (ours, theirs))
        assert error <= allowed + ALLOWANCE[dtype]


def poison() -> None:
    """Fill memory with NaN and free it, so that the next tensors are likely to lie in it."""
    torch.full((1 << 28,), torch.nan, device="cuda")


@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize(
    "shape",
    [(50_000, 3), (4096, 384), (1, 4099), (1031, 4099), (512, 8192), (512, 8193), (1024, 30_522), (64, 250_002)],
)
def test_kl_is_as_exact_as_torchs(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, teacher = (torch.randn(shape, device="cuda").mul_(3).to(dtype) for _ in range(2))
    results = []
    for loss, kind in ((distillation_kl, dtype), (plain, dtype), (plain, torch.float64)):
        leaf = student.detach().to(kind).requires_grad_()
        poison()
        value = loss(leaf, teacher.to(kind), 2.0)
        value.backward(torch.tensor(1.7, device="cuda", dtype=value.dtype))
        assert leaf.grad is not None
        results.append([value.detach(), leaf.grad])
    assert_near(*results, dtype)


@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("alpha_ce", [0.0, 0.5])
@pytest.mark.parametrize(
    ("N", "V", "D"),
    [(2, 30_522, 768), (32, 30_522, 768), (300, 30_522, 768), (2500, 30_522, 1024), (300, 250_002, 768)],
)
def test_linear_kl_is_as_exact_as_making_the_logits(
    N: int, V: int, D: int, alpha_ce: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    inputs = [
        torch.randn(N, D),
        torch.randn(V, D) / D**0.5,
        torch.randn(V),
        torch.randn(N, D),
        torch.randn(V, D) / D**0.5,
    ]
    inputs = [x.cuda().to(dtype) for x in inputs]
    labels = torch.randint(0, V, (N,), device="cuda")
    labels[::3] = -100

    def by_logits(hidden: Tensor, weight: Tensor, bias: Tensor, *teacher: Tensor) -> Tensor:
        counts = labels != -100
        student_NV, teacher_NV = F.linear(hidden, weight, bias)[counts], F.linear(*teacher)[counts]
        return plain(student_NV, teacher_NV, 2.0) + alpha_ce * F.cross_entropy(student_NV, labels[counts])

    def ours(hidden: Tensor, weight: Tensor, bias: Tensor, *teacher: Tensor) -> Tensor:
        settings = {"temperature": 2.0, "labels": labels, "alpha_ce": alpha_ce}
        return linear_distillation_kl(hidden, weight, *teacher, student_bias=bias, **settings)  # type: ignore[arg-type]

    results = []
    for loss, kind in ((ours, dtype), (by_logits, dtype), (by_logits, torch.float64)):
        leaves = [x.detach().to(kind).requires_grad_() for x in inputs[:3]]
        poison()
        value = loss(*leaves, *(x.to(kind) for x in inputs[3:]))
        value.backward(torch.tensor(0.3, device="cuda", dtype=value.dtype))
        results.append([value.detach(), *(x.grad for x in leaves if x.grad is not None)])
    assert_near(*results, dtype)


def test_linear_kl_of_fp32_is_exact_where_the_program_allows_tf32() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(shape, device="cuda") for shape in ((64, 768), (30_522, 768), (64, 768), (30_522, 768))]
    inputs[1] /= 768**0.5
    inputs[3] /= 768**0.5
    setting = torch.backends.cuda.matmul
    before, setting.fp32_precision = setting.fp32_precision, "tf32"
    try:
        value = linear_distillation_kl(*inputs)
    finally:
        setting.fp32_precision = before
    hidden, weight, teacher_hidden, teacher_weight = (x.double() for x in inputs)
    exact = plain(hidden @ weight.t(), teacher_hidden @ teacher_weight.t(), 1.0)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)


def test_linear_kl_needs_little_memory_beside_its_gradients() -> None:
    N, V, D = 2048, 250_002, 768
    hidden, teacher_hidden = (torch.randn(N, D, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    weight, teacher_weight = (torch.randn(V, D, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    hidden.requires_grad_(), weight.requires_grad_()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    linear_distillation_kl(hidden, weight, teacher_hidden, teacher_weight).backward()
    used = torch.cuda.max_memory_allocated() - before - 2 * (N + V) * D
    rows, columns = chunk_shape(N, V, processors(hidden.device))
    assert used < 10 * rows * columns + 64 * 2**20, f"{used / 2**20:.0f} MiB"


def test_kl_never_waits_for_the_device() -> None:
    student, teacher = (torch.randn(64, 300, device="cuda", requires_grad=True) for _ in range(2))
    valid = torch.rand(64, device="cuda") < 0.5
    distillation_kl(student, teacher, 2.0, valid).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        distillation_kl(student, teacher, 2.0, valid).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
