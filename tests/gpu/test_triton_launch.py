"""Launches that repeat a kernel's machine code, on a CUDA device: wherever tensors begin, on any stream, in a graph."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import hidden_state_loss
from torch import Tensor
from torch.nn import functional as F

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def states(first: int, device: str = "cuda") -> list[Tensor]:
    """A student's and a teacher's, `first` entries into their memory."""
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


def test_launches_go_to_the_current_stream() -> None:
    x = states(0)
    check(value_and_gradient(*x), *x)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)
        y = [z * 2 for z in x]  # only there after the sleep
        found = value_and_gradient(*y)
    side.synchronize()
    check(found, *y)


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
