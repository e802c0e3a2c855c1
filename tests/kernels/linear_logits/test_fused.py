"""Test `linear_distillation_kl` with Triton kernels: the cases of the reference, in one chunk and in many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bistil_kernels import linear_distillation_kl
from bistil_kernels.linear_logits import chunk_shape
from bistil_kernels.linear_logits import chunks as module
from kernel_cases import linear_logits as cases
from kernel_cases.exactness import ALLOWANCE
from kernel_cases.linear_logits import test_a_frozen_head_gets_no_gradient  # noqa: F401
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401
from kernel_cases.spread import spread
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.fixture(params=["one chunk", "chunks"], autouse=True)
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split one chunk's columns among four programs, or make chunks of two rows, five columns, two programs a row."""
    monkeypatch.setattr(module, "READING", {"BLOCK": 4, "num_warps": 4})
    monkeypatch.setattr(module, "PROGRAMS", 20 if request.param == "one chunk" else 4)
    if request.param == "chunks":
        monkeypatch.setattr(chunk_shape, "CHUNK", 10)
        monkeypatch.setattr(chunk_shape, "MOST_ROWS", 2)


@pytest.fixture(autouse=True)
def _new_memory_holds_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    assert torch.empty(1).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def draw(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("labels", "alpha_ce", "biased", "dtype"), spread(cases.LABELS, [0.0, 0.5], [False, True], [*ALLOWANCE], every=6)
)
def test_linear_kl_is_as_exact_as_making_the_logits(
    labels: Tensor | None, alpha_ce: float, biased: bool, dtype: torch.dtype
) -> None:
    cases.test_linear_kl_is_as_exact_as_making_the_logits(labels, alpha_ce, biased, dtype)


def test_no_tensor_of_all_logits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                self.size = max(self.size, x.numel() if isinstance(x, Tensor) else 0)
            return out

    monkeypatch.setattr(chunk_shape, "CHUNK", 1024)
    monkeypatch.setattr(module, "READING", {"BLOCK": 64, "num_warps": 4})
    N, V, D = 16, 480, 3
    hidden, weight, *teacher = draw((N, D), (V, D), (N, D), (V, D))
    with Largest() as largest:
        linear_distillation_kl(hidden.requires_grad_(), weight.requires_grad_(), *teacher).backward()
    assert largest.size == V * D, "more than the weight's gradient"
    assert V * D < N * V // 4


def test_strided_inputs_and_other_dtypes_of_weights() -> None:
    hidden, weight, bias, *teacher = draw((4, 6), (3, 9), (18,), (6, 4), (9, 8))
    inputs = [hidden.t()[:5].bfloat16(), weight.t()[:, :2], bias[::2]]
    inputs[0] = hidden[:, ::3].bfloat16()
    teacher = [teacher[0].t(), teacher[1][:, 1:7]]
    leaves = [x.detach().requires_grad_() for x in inputs]
    value = linear_distillation_kl(leaves[0], leaves[1], *teacher, student_bias=leaves[2])
    value.backward()
    exact = [x.detach().double().requires_grad_() for x in inputs]
    wanted = linear_distillation_kl(exact[0], exact[1], *(x.double() for x in teacher), student_bias=exact[2])
    wanted.backward()
    torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
    for found, reference, tolerance in zip(leaves, exact, (1e-2, 1e-5, 1e-5)):
        assert found.grad is not None
        torch.testing.assert_close(found.grad.double(), reference.grad, rtol=tolerance, atol=tolerance)


def test_a_kept_graph_gives_its_gradients_again_for_any_upstream() -> None:
    hidden, weight, *teacher = draw((5, 3), (11, 3), (5, 2), (11, 2))
    leaves = [hidden.requires_grad_(), weight.requires_grad_()]
    value = linear_distillation_kl(*leaves, *teacher)
    once, thrice, again = (torch.autograd.grad(value * c, leaves, retain_graph=True) for c in (1.0, 3.0, 1.0))
    for a, b, c in zip(once, thrice, again):
        assert torch.equal(a, c)
        torch.testing.assert_close(b, 3 * a)


def test_operators_are_registered_as_they_behave() -> None:
    hidden, weight, bias, *teacher = draw((5, 3), (11, 3), (11,), (5, 2), (11, 2))
    labels = torch.tensor([0, -100, 10, 3, 3])
    student = [x.requires_grad_() for x in (hidden, weight, bias)]
    args = (*student, *teacher, None, 2.0, labels, 0.3, -100, [True, True, True])
    torch.library.opcheck(torch.ops.bistil_kernels.linear_distillation_kl.default, args)


def test_compiled_code_gives_the_same() -> None:
    hidden, weight, *teacher = draw((5, 3), (11, 3), (5, 2), (11, 2))
    leaves = [hidden.requires_grad_(), weight.requires_grad_()]

    def loss(hidden: Tensor, weight: Tensor) -> Tensor:
        return linear_distillation_kl(hidden * 2, weight, *teacher, temperature=2.0) * 3

    torch.compiler.reset()
    wanted = torch.autograd.grad(loss(*leaves), leaves)
    found = torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(*leaves), leaves)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("allowed", ["tf32", "ieee"])
def test_products_of_fp32_are_not_rounded_even_where_the_program_allows_it(
    allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, seen, plain = torch.backends.cuda.matmul, [], module.multiply

    def watched(a: Tensor, b: Tensor, out: Tensor) -> None:
        seen.append(setting.fp32_precision)
        plain(a, b, out)

    monkeypatch.setattr(module, "multiply", watched)
    before = setting.fp32_precision
    setting.fp32_precision = allowed
    try:
        linear_distillation_kl(*draw((5, 3), (11, 3), (5, 2), (11, 2)))
        assert set(seen) == {"ieee"}
        assert setting.fp32_precision == allowed
    finally:
        setting.fp32_precision = before


def test_under_autocast_products_are_of_its_dtype() -> None:
    inputs = draw((5, 6), (11, 6), (5, 8), (11, 8))
    leaves = [x.requires_grad_() for x in inputs[:2]]
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_distillation_kl(*inputs)
    wanted = linear_distillation_kl(*(x.bfloat16() for x in inputs))
    assert torch.equal(found, wanted)
    for a, b in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, leaves)):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


def test_a_label_outside_the_vocabulary_makes_the_loss_not_finite() -> None:
    inputs = draw((3, 4), (9, 4), (3, 4), (9, 4))
    for label in (9, -1):
        labels = torch.tensor([1, label, -100])
        assert linear_distillation_kl(*inputs, labels=labels, alpha_ce=0.5).isnan()
        assert linear_distillation_kl(*inputs, labels=labels).isfinite(), "labels that only say what counts"
