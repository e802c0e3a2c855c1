"""Test `distillation_kl` with Triton kernels: rows that fit on chip and rows that do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bistil_kernels import distillation_kl
from bistil_kernels.logits import fused
from kernel_cases.logits import plain, test_kl_is_as_exact_as_torchs  # noqa: F401
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401


@pytest.fixture(params=["on chip", "long"], autouse=True)
def long_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "long":
        monkeypatch.setattr(fused, "LONGEST", 0)
        monkeypatch.setattr(fused, "STREAMING", {"COLUMNS": 16, "num_warps": 4})


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (130, 3), (2, 16), (2, 17), (1, 150)])
def test_any_shape(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(shape, requires_grad=True), torch.randn(shape)
    value = distillation_kl(student, teacher, 2.0)
    (found,) = torch.autograd.grad(value * 3, student)
    wanted = plain(student.double(), teacher.double(), 2.0, None)
    torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(wanted * 3, student)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-7)


def test_no_rows_or_no_entries_give_0() -> None:
    for shape in ((0, 5), (3, 0)):
        student = torch.ones(shape, requires_grad=True)
        value = distillation_kl(student, torch.ones(shape))
        assert value.item() == 0.0
        value.backward()
        assert student.grad is not None
        assert student.grad.shape == shape


def test_a_kept_graph_gives_its_gradient_again_for_any_upstream() -> None:
    student, teacher = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5)
    value = distillation_kl(student, teacher)
    first, third, again = (
        torch.autograd.grad(value, student, c * value.new_ones(()), retain_graph=True)[0] for c in (1, 3, 1)
    )
    assert torch.equal(first, again)
    torch.testing.assert_close(third, 3 * first)


def test_entries_more_than_int32_can_say_apart_are_found(tmp_path: Path) -> None:
    apart = 2**30
    file = tmp_path / "logits"  # a sparse file of 8 GiB: only the touched pages take space
    everything = torch.from_file(str(file), shared=True, size=2**32 + 4096, dtype=torch.bfloat16)
    file.unlink()
    student = everything.as_strided((3, 3), (1, apart), 2**31)
    teacher = everything.as_strided((3, 3), (1, apart), 2**31 + 64)
    drawn = torch.randn(2, 3, 3).bfloat16()
    student.copy_(drawn[0])
    teacher.copy_(drawn[1])
    for inputs in ((student, drawn[1]), (drawn[0], teacher)):
        leaf = inputs[0].detach().requires_grad_()
        value = distillation_kl(leaf, inputs[1])
        (gradient,) = torch.autograd.grad(value, leaf)
        close = drawn[0].clone().requires_grad_()
        wanted = distillation_kl(close, drawn[1])
        assert torch.equal(value, wanted)
        assert torch.equal(gradient, torch.autograd.grad(wanted, close)[0])


def test_entries_neither_can_choose_cost_nothing() -> None:
    student, teacher = torch.randn(2, 6), torch.randn(2, 6)
    wanted = distillation_kl(student[:, :4], teacher[:, :4])
    student[:, 4:] = teacher[:, 4:] = -torch.inf
    torch.testing.assert_close(distillation_kl(student, teacher), wanted)


def test_positions_that_do_not_count_may_hold_garbage() -> None:
    student, teacher = torch.randn(3, 6), torch.randn(3, 6)
    valid = torch.tensor([True, False, True])
    wanted = distillation_kl(student, teacher, valid=valid)
    student[1], teacher[1] = torch.nan, torch.inf
    student.requires_grad_()
    value = distillation_kl(student, teacher, valid=valid)
    value.backward()
    assert torch.equal(value, wanted)
    assert student.grad is not None
    assert not student.grad[1].any()


def test_fp16_gradients_survive_a_loss_scale_beyond_fp16() -> None:
    student, teacher = torch.randn(64, 8).half().requires_grad_(), torch.randn(64, 8).half()
    (distillation_kl(student, teacher) * 2.0**20).backward()
    exact = student.detach().double().requires_grad_()
    (plain(exact, teacher.double(), 1.0, None) * 2.0**20).backward()
    assert student.grad is not None
    assert exact.grad is not None
    assert (student.grad.double() - exact.grad).abs().max() < 2e-3 * exact.grad.abs().max()


def test_operators_are_registered_as_they_behave() -> None:
    student, teacher = torch.randn(4, 20, requires_grad=True), torch.randn(4, 20)
    valid = torch.tensor([True, True, False, True])
    args = (student, teacher, 2.0, valid, True)
    torch.library.opcheck(torch.ops.bistil_kernels.distillation_kl.default, args)
    if fused.LONGEST == 0:
        _, factor, kept = torch.ops.bistil_kernels.distillation_kl(*args)
        args_of_gradient = (student.detach(), teacher, 2.0, valid, kept, factor, torch.ones(()))
        torch.library.opcheck(torch.ops.bistil_kernels.distillation_kl_gradient.default, args_of_gradient)


def test_compiled_code_gives_the_same() -> None:
    student, teacher = torch.randn(4, 20, requires_grad=True), torch.randn(4, 20)

    def loss(student: torch.Tensor) -> torch.Tensor:
        return distillation_kl(student * 2, teacher, 2.0) * 3

    torch.compiler.reset()  # the cache of compiled code does not notice the settings that this file's fixture changes
    wanted = torch.autograd.grad(loss(student), student)[0]
    found = torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(student), student)[0]
    torch.testing.assert_close(found, wanted)
