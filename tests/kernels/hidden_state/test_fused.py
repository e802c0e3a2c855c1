"""Test the Triton kernels of the hidden-state loss on CPU tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from bistil_kernels.hidden_state import fused
from bistil_kernels.hidden_state.fused import hidden_state_loss
from bistil_kernels.runtime import pairs, scaling
from kernel_cases.exactness import ALLOWANCE, MASKS, assert_as_exact_as_plain, draw_mask
from kernel_cases.hidden_state import (  # noqa: F401
    P,
    plain,
    test_a_zero_state_has_cosine_zero_and_a_finite_gradient,
    test_an_upstream_gradient_told_beforehand_changes_no_gradient,
    test_gradients_add_up_over_several_passes_as_torchs_do,
    test_padding_may_hold_garbage,
)
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401
from kernel_cases.spread import spread
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Fill new memory with NaN, so that an entry that no kernel writes is noticed."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every program loop several times and pairs need several launches, as they do at real sizes."""
    monkeypatch.setattr(pairs, "MOST_PROGRAMS", 3)
    monkeypatch.setattr(pairs, "MOST_PAIRS", 1)


def states(B: int, T: int, Ds: int, Dt: int, student: torch.dtype, teacher: torch.dtype) -> list[Tensor]:
    """Return P student states with the width outermost in memory, then P teacher states of every second entry."""
    students = [torch.randn(B, Ds, T, dtype=student).transpose(1, 2) for _ in range(P)]
    return students + [torch.randn(B, T, 2 * Dt, dtype=teacher)[..., ::2] for _ in range(P)]


def check(x: list[Tensor], mask: Tensor | None, kind: str, projections: list[Tensor] | None) -> None:
    assert_as_exact_as_plain(
        lambda x: hidden_state_loss(x[:P], x[P:], mask, projections, kind),
        lambda x: plain([*x[:P], *(y.to(x[0].dtype) for y in x[P:])], mask, kind, projections),
        x,
        trained=P,
    )


@pytest.mark.parametrize(
    ("kind", "mask_name", "dtype", "projected"), spread(["mse", "cosine"], MASKS, [*ALLOWANCE], [False, True], every=6)
)
def test_is_as_exact_as_torchs_own_loss(kind: str, mask_name: str, dtype: torch.dtype, projected: bool) -> None:
    Dt = 9 if projected else 5
    projections = [torch.randn(Dt, 5) / 3 for _ in range(P)] if projected else None
    check(states(3, 7, 5, Dt, dtype, dtype), draw_mask(mask_name, 3, 7), kind, projections)


@pytest.mark.usefixtures("few_programs")
@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize(("shape", "projected"), [((2, 13, 300), False), ((2, 70, 70), True), ((1, 1, 2), False)])
def test_sizes_beyond_one_tile_and_of_one(kind: str, shape: tuple[int, int, int], projected: bool) -> None:
    B, T, D = shape
    projections = [torch.randn(D + 3, D).t().contiguous().t() / 8 for _ in range(P)] if projected else None
    check(
        states(B, T, D, D + 3 if projected else D, torch.float32, torch.float32),
        draw_mask("right padding", B, T),
        kind,
        projections,
    )


@pytest.mark.parametrize("projected", [False, True])
def test_a_bf16_teacher_may_teach_an_fp32_student(projected: bool) -> None:
    x = states(2, 5, 6, 6, torch.float32, torch.bfloat16)
    projections = [torch.randn(6, 6) / 3 for _ in range(P)] if projected else None
    exact = plain([y.double() for y in x], None, "mse", projections and [w.double() for w in projections])
    torch.testing.assert_close(hidden_state_loss(x[:P], x[P:], None, projections).double(), exact, rtol=1e-5, atol=0)


def test_pairs_of_different_layouts_keep_their_places() -> None:
    shapes = [(1, 3, 5), (1, 3, 4), (1, 3, 5), (1, 0, 4)]
    student = [torch.randn(s, requires_grad=True) for s in shapes]
    teacher = [torch.randn(s) for s in shapes]
    value = hidden_state_loss(student, teacher, None)
    gradients = torch.autograd.grad(value, student, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    for i, (s, t) in enumerate(zip(student[:3], teacher[:3])):
        torch.testing.assert_close(value[i], F.mse_loss(s, t))
        torch.testing.assert_close(gradients[i], (i + 1) * 2 * (s - t).detach() / s.numel())
    assert value[3].item() == 0.0


def test_fp16_gradients_survive_a_loss_scale_beyond_fp16() -> None:
    student, teacher = (torch.randn(2, 64, 32, dtype=torch.float16) for _ in range(2))
    (hidden_state_loss([student.requires_grad_()], [teacher], None) * 2.0**18).sum().backward()
    exact = 2.0**19 * (student.detach().double() - teacher.double()) / student.numel()
    assert student.grad is not None
    assert (student.grad.double() - exact).abs().max() < 2e-3 * exact.abs().max()


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_the_last_backward_pass_allocates_no_second_gradient() -> None:
    student = torch.randn(1, 2, 3, requires_grad=True)
    value = hidden_state_loss([student], [torch.ones(1, 2, 3)], None).sum()
    with Operators() as kept:
        torch.autograd.grad(value, student, retain_graph=True)
    with Operators() as last:
        torch.autograd.grad(value, student)
    assert "bistil_kernels::scale_gradients" in kept.names
    assert "bistil_kernels::scale_gradients_" in last.names


def test_gradients_prepared_for_their_upstream_are_left_alone() -> None:
    prepared = torch.tensor([1 / 7, 0.1, 0.1])
    upstream = torch.tensor([torch.ones(()) / 7, torch.tensor(0.3) * (1 / 3), 0.2])
    assert prepared[1] != upstream[1], "as much as rounding may do"
    gradients = [torch.randn(5000) for _ in range(3)]
    before = [x.clone() for x in gradients]
    torch.ops.bistil_kernels.scale_gradients_(gradients, prepared, upstream)
    assert [torch.equal(x, y) for x, y in zip(gradients, before)] == [True, True, False]
    torch.testing.assert_close(gradients[2], 2 * before[2])


@pytest.mark.parametrize("factor", [1.0, 3.0, 0.0])
def test_a_second_backward_through_a_kept_graph_gives_the_same_gradient(factor: float) -> None:
    student = torch.randn(1, 2, 3, requires_grad=True)
    value = hidden_state_loss([student], [torch.ones(1, 2, 3)], None).sum() * factor
    first = torch.autograd.grad(value, student, retain_graph=True)[0]
    second = torch.autograd.grad(value, student, retain_graph=True)[0].clone()
    third = torch.autograd.grad(value, student)[0]
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    torch.testing.assert_close(first, factor * (student.detach() - 1) / 3)


def test_results_are_the_same_bits_every_time() -> None:
    x = states(3, 40, 300, 300, torch.float32, torch.float32)
    assert torch.equal(hidden_state_loss(x[:P], x[P:], None), hidden_state_loss(x[:P], x[P:], None))


def test_works_inside_a_checkpoint_and_a_compiled_function() -> None:
    x = states(2, 3, 4, 4, torch.float32, torch.float32)

    def loss(s: Tensor) -> Tensor:
        return hidden_state_loss([s.tanh(), s], x[P:], None).sum()

    def gradient(f) -> Tensor:  # type: ignore[no-untyped-def]
        s = x[0].clone().requires_grad_()
        return torch.autograd.grad(f(s), s)[0]

    wanted = gradient(loss)
    torch.testing.assert_close(gradient(lambda s: checkpoint(loss, s, use_reentrant=False)), wanted)
    torch.testing.assert_close(gradient(torch.compile(loss, backend="aot_eager", fullgraph=True)), wanted)


@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_a_call_past_the_dispatcher_gives_the_operators_bits(
    dtype: torch.dtype, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = states(2, 5, 6, 6, dtype, dtype)
    student, mask = [y.requires_grad_() for y in x[:P]], draw_mask("holes", 2, 5)

    def run() -> list[Tensor]:
        value = hidden_state_loss(student, x[P:], mask, None, kind) * 3
        with torch.no_grad():
            alone = hidden_state_loss(student, x[P:], mask, None, kind)
        return [value.detach(), alone, *torch.autograd.grad(value.sum(), student)]

    direct = run()
    for module in (fused, scaling):
        monkeypatch.setattr(module, "is_direct", lambda _: False)
    assert all(torch.equal(a, b) for a, b in zip(direct, run()))


@pytest.mark.parametrize("projected", [False, True])
def test_the_operators_are_registered_as_torch_wants_them(projected: bool) -> None:
    x: Sequence[Tensor] = [y.contiguous() for y in states(2, 3, 4, 4, torch.float32, torch.float32)]
    projections = [torch.randn(4, 4) for _ in range(P)] if projected else None
    operators, mask = torch.ops.bistil_kernels, draw_mask("holes", 2, 3)
    student = [y.requires_grad_() for y in x[:P]]
    torch.library.opcheck(operators.hidden_state, (student, x[P:], mask, projections, "mse", 1.0, True))
    gradients = [torch.randn(2, 3, 4) for _ in range(P)]
    torch.library.opcheck(operators.scale_gradients_, (gradients, torch.ones(P), torch.rand(P)))
    torch.library.opcheck(operators.scale_gradients, (gradients, torch.ones(P), torch.rand(P), [False, True]))
