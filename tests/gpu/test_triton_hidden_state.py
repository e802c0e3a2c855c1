"""Test the hidden-state loss at real sizes on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bistil_kernels import hidden_state_loss
from kernel_cases.exactness import ALLOWANCE, assert_as_exact_as_plain, draw_mask
from kernel_cases.hidden_state import (  # noqa: F401
    P,
    plain,
    test_a_second_backward_through_a_kept_graph_gives_the_same_gradient,
    test_a_zero_state_has_cosine_zero_and_a_finite_gradient,
    test_an_upstream_gradient_told_beforehand_changes_no_gradient,
    test_gradients_add_up_over_several_passes_as_torchs_do,
    test_padding_may_hold_garbage,
)
from torch import Tensor
from torch.nn import functional as F

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def on_cuda() -> Iterator[None]:
    """Make tensors on the device by default, and fill new memory with NaN."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.device("cuda"):
        yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize("size", [(8, 256), (32, 256), (64, 512)], ids=str)
@pytest.mark.parametrize("width", [768, 1024])
@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("mask_name", ["none given", "right padding"])
def test_is_as_exact_as_torchs_own_loss(
    kind: str, size: tuple[int, int], width: int, dtype: torch.dtype, mask_name: str
) -> None:
    mask = draw_mask(mask_name, *size)
    assert_as_exact_as_plain(
        lambda x: hidden_state_loss(x[:P], x[P:], mask, None, kind) * 2.0**11,
        lambda x: plain(x, mask, kind, None) * 2.0**11,
        [torch.randn(*size, width, dtype=dtype) for _ in range(2 * P)],
        trained=P,
    )


@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_projects_the_teacher_as_exactly(kind: str, dtype: torch.dtype) -> None:
    B, T, Ds, Dt = 8, 256, 384, 768
    projections = [torch.linalg.qr(torch.randn(Dt, Ds))[0] for _ in range(P)]
    x = [torch.randn(B, T, Ds, dtype=dtype) for _ in range(P)] + [torch.randn(B, T, Dt, dtype=dtype) for _ in range(P)]
    assert_as_exact_as_plain(
        lambda x: hidden_state_loss(x[:P], x[P:], None, projections, kind) * 2.0**11,
        lambda x: plain(x, None, kind, projections) * 2.0**11,
        x,
        trained=P,
    )


def test_forward_and_backward_hold_one_gradient_and_little_more() -> None:
    student = [torch.randn(64, 512, 768, dtype=torch.bfloat16, requires_grad=True) for _ in range(P)]
    teacher = [torch.randn(64, 512, 768, dtype=torch.bfloat16) for _ in range(P)]
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.autograd.grad(hidden_state_loss(student, teacher, None).sum(), student)
    gradients = sum(x.numel() * x.element_size() for x in student)
    assert torch.cuda.max_memory_allocated() - before <= gradients + (1 << 20)


def test_nothing_waits_for_the_device() -> None:
    x = [torch.randn(8, 256, 768, requires_grad=i < P) for i in range(2 * P)]
    mask = draw_mask("holes", 8, 256)
    for mode in ("default", "error"):  # the first pass compiles and may wait
        torch.cuda.set_sync_debug_mode(mode)
        try:
            (hidden_state_loss(x[:P], x[P:], mask) * 0.5).sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_the_mean_over_pairs_touches_no_gradient_again() -> None:
    student = [torch.randn(8, 256, 768, dtype=torch.bfloat16, requires_grad=True) for _ in range(P)]
    teacher = [torch.randn(8, 256, 768, dtype=torch.bfloat16) for _ in range(P)]

    def gradients(upstream: float) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(hidden_state_loss(student, teacher, None, upstream=upstream).mean(), student)

    for told, other in zip(gradients(1 / P), gradients(1.0)):
        torch.testing.assert_close(told, other, rtol=2**-7, atol=0)


def states(first: int, device: str = "cuda") -> list[Tensor]:
    """Return a student state and a teacher state [4, 32, 64], each `first` entries into its memory."""
    memory = torch.randn(2, 4 * 32 * 64 + 16, device=device)
    return [x[first : first + 4 * 32 * 64].view(4, 32, 64) for x in memory]


def value_and_gradient(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    student = student.detach().requires_grad_()
    value = hidden_state_loss([student], [teacher], None)
    return value[0].detach(), torch.autograd.grad(value.sum(), student)[0]


def check(found: tuple[Tensor, Tensor], student: Tensor, teacher: Tensor) -> None:
    torch.testing.assert_close(found[0], F.mse_loss(student, teacher))
    torch.testing.assert_close(found[1], 2 * (student - teacher) / student.numel())


def test_states_may_begin_anywhere_at_any_time() -> None:
    for first in (0, 1, 0, 4, 3, 1, 0):
        x = states(first)
        check(value_and_gradient(*x), *x)


def test_a_graph_holds_the_launches() -> None:
    x, news = states(0), states(0)
    for _ in range(2):
        value_and_gradient(*x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = value_and_gradient(*x)
    for old, new in zip(x, news):
        old.copy_(new)
    graph.replay()
    torch.cuda.synchronize()
    check(found, *news)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_each_device_has_its_own_code() -> None:
    for device in ("cuda:0", "cuda:1") * 2:
        x = states(0, device)
        check(value_and_gradient(*x), *x)
