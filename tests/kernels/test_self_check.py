"""Test that the self-check finds kernels that raise or are off by 2 %, in place of which these tests put fakes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bistil_kernels import attention_map, hidden_state, linear_logits, logits, use
from bistil_kernels.attention_map.reference import attention_map_loss
from bistil_kernels.hidden_state.reference import hidden_state_loss
from bistil_kernels.linear_logits.reference import linear_distillation_kl
from bistil_kernels.logits.reference import distillation_kl
from bistil_kernels.runtime import choice
from bistil_kernels.runtime.choice import FAMILIES, allows, using
from bistil_kernels.self_check import CHECKS, Sizes, complaint_of, failing_families
from bistil_kernels.sparse import adamw, entries, top_k
from bistil_kernels.sparse.adamw.reference import SparseAdamW
from bistil_kernels.sparse.delta import write_deltas
from bistil_kernels.sparse.entries.reference import gather_at, swap_in
from bistil_kernels.sparse.top_k.reference import _Reference
from bistil_kernels.sparse.types import SparseDelta
from kernel_cases.off_by import Scaled
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401 - a fixture
from torch import Tensor

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
PACKAGES = {
    "hidden_state": hidden_state,
    "attention_map": attention_map,
    "logits": logits,
    "linear_logits": linear_logits,
    "sparse.entries": entries,
    "sparse.top_k": top_k,
    "sparse.adamw": adamw,
}


def fakes(of_value: float = 1.0, of_gradient: float = 1.0) -> dict[str, SimpleNamespace]:
    """Return family → what its module `fused` has, made of the reference; results are off by these factors.

    Sparse operations have no gradients. There `of_gradient` spoils a second result: what a swap writes, or the weight.
    """

    def loss(function: Callable[..., Tensor], **named: Any) -> Tensor:
        with using("torch"):
            return Scaled.apply(function(**named), of_value, of_gradient)

    def of_hidden(student: Any, teacher: Any, mask: Any, projections: Any, kind: str, upstream: float) -> Tensor:
        given = {"projections": projections, "kind": kind, "upstream": upstream}
        return loss(hidden_state_loss, student=student, teacher=teacher, mask=mask, **given)

    def of_maps(student: Any, teacher: Any, mask: Any, kind: str, queries: bool, upstream: float, windows: Any) -> Any:
        given = {"kind": kind, "mask_queries": queries, "upstream": upstream, "windows": windows}
        return loss(attention_map_loss, student_qk=student, teacher_qk=teacher, mask=mask, **given)

    def of_logits(student: Tensor, teacher: Tensor, temperature: float, valid: Any) -> Tensor:
        given = {"temperature": temperature, "valid": valid}
        return loss(distillation_kl, student_logits=student, teacher_logits=teacher, **given)

    def of_heads(student: Any, teacher: Any, temperature: float, *of_labels: Any) -> Tensor:
        given = dict(zip(("student_hidden", "student_weight", "student_bias"), student))
        given |= dict(zip(("teacher_hidden", "teacher_weight", "teacher_bias"), teacher))
        return loss(linear_distillation_kl, **given, temperature=temperature)

    def gather(tensors: Any, indices: Any) -> list[Tensor]:
        with using("torch"):
            return [x * of_value for x in gather_at(tensors, indices)]

    def swap(weights: Any, indices: Any, values: Any) -> list[Tensor]:
        with using("torch"):
            return [x * of_value for x in swap_in(weights, indices, [x * of_gradient for x in values])]

    class Worker(_Reference):
        def __init__(self, pairs: Any) -> None:
            super().__init__([(after * of_value * of_gradient, before) for after, before in pairs])

    class Update:
        def __init__(self, deltas: list[SparseDelta]) -> None:
            self.deltas = deltas

        def adamw(self, gradients: Any, moments: Any, step: int, **group: Any) -> None:
            before = [x.delta_K.detach().clone() for x in self.deltas]
            states = [dict(zip(("exp_avg", "exp_avg_sq"), of_delta)) for of_delta in moments]
            with using("torch"):
                SparseAdamW(self.deltas)._update(group, self.deltas, states, list(gradients), step)
                for x, old in zip(self.deltas, before):
                    right = old + (x.delta_K - old) * of_value
                    x.delta_K.copy_(right * of_gradient)
                    write_deltas([x])
                    x.delta_K.copy_(right)

    named = (
        SimpleNamespace(hidden_state_loss=of_hidden),
        SimpleNamespace(attention_map_loss=of_maps),
        SimpleNamespace(distillation_kl=of_logits),
        SimpleNamespace(linear_distillation_kl=of_heads),
        SimpleNamespace(gather_at=gather, swap_in=swap),
        SimpleNamespace(Worker=Worker),
        SimpleNamespace(SparseUpdate=Update),
    )
    return dict(zip(PACKAGES, named))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Triton seem to be installed, and put the choice back at the end."""
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    with using("auto"):
        yield


def put(monkeypatch: pytest.MonkeyPatch, modules: dict[str, SimpleNamespace], families: Iterable[str]) -> None:
    for family in families:
        monkeypatch.setattr(PACKAGES[family], "fused", modules[family], raising=False)


def test_every_family_has_a_check_and_every_check_a_family() -> None:
    assert tuple(CHECKS) == tuple(PACKAGES) == FAMILIES


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_kernels_pass_and_drawing_leaves_the_random_state_alone(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, fakes(), FAMILIES)
    before = torch.get_rng_state()
    with torch.no_grad(), torch.autocast("cpu"):  # a caller may have turned both on
        assert failing_families(CPU, dtype) == {}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("factors", [(1.02, 1.0), (1.0, 1.02), (0.98, 1.0), (1.0, 0.98)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_result_that_is_off_by_two_per_cent_is_found_in_every_family(
    dtype: torch.dtype, factors: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, fakes(*factors), FAMILIES)
    found = failing_families(CPU, dtype)
    assert set(found) == set(FAMILIES)
    wrong = "the value is off by 0.02 of" if factors[0] != 1.0 else "gradient 1 is off by 0.02"
    assert wrong in found["logits"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_case_may_have_other_sizes(family: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose sizes at which unscaled gradients would be 0 in fp16, so that no wrong one could be found."""
    sizes = Sizes((4, 128, 96), (4, 128, 4, 16), (60, 1000, 8), ((7, 5), (3, 20, 50)))
    put(monkeypatch, fakes(), FAMILIES)
    assert complaint_of(family, CPU, dtype, sizes) is None
    put(monkeypatch, fakes(of_gradient=1.02), FAMILIES)
    complaint = complaint_of(family, CPU, dtype, sizes)
    assert complaint is not None


def test_one_wrong_family_does_not_spoil_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, fakes(), FAMILIES)
    put(monkeypatch, fakes(torch.nan), ["attention_map"])
    found = failing_families(CPU, torch.float32)
    assert list(found) == ["attention_map"]
    assert found["attention_map"].startswith("the value is off by inf of the largest value; PyTorch by ")


class CompilationError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [CompilationError("at 7:0:\n  x = tl.dot(a)\nptxas fatal"), RuntimeError("CUDA error\nlaunch " + "x" * 999)],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_kernel_that_raises_is_named_with_the_reason_in_one_line(
    family: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, fakes(), FAMILIES)
    put(monkeypatch, {family: SimpleNamespace()}, [family])  # a module without any kernel
    (named,) = failing_families(CPU, torch.float32)
    assert named == family

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    (name,) = (name for name in vars(fakes()[family]) if name != "swap_in")
    put(monkeypatch, {family: SimpleNamespace(**{**vars(fakes()[family]), name: fail})}, [family])
    (reason,) = failing_families(CPU, torch.float32).values()
    assert reason.startswith(f"{type(error).__name__}: {str(error).split()[0]} ")
    assert "\n" not in reason
    assert len(reason) <= 200


def test_a_module_that_cannot_be_imported_fails_its_family_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, fakes(), FAMILIES)
    monkeypatch.delattr(logits, "fused")
    monkeypatch.setitem(sys.modules, "bistil_kernels.logits.fused", None)
    assert list(failing_families(CPU, torch.float32)) == ["logits"]


def test_without_triton_every_family_has_this_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert failing_families(CPU, torch.float32) == dict.fromkeys(FAMILIES, "triton is not installed")


def test_the_check_leaves_the_choice_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, fakes(1.02), FAMILIES)
    use("auto", ["logits"])
    failing_families(CPU, torch.float32)
    assert [allows(family) for family in ("logits", "hidden_state")] == [False, True]
