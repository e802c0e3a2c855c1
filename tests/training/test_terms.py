"""Test that a registered loss has its weight, is logged and summed, and leaves what the next loss reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiny
import torch

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.student import build_student
from bistil_ds.training import terms
from bistil_ds.training.distiller import BaseDistiller
from bistil_ds.training.terms import LayerView, LossTerm, terms_of
from bistil_ds.tuning.arguments import TaskLossArguments


@pytest.mark.parametrize(("phase", "arguments"), [(1, LossArguments), (2, TaskLossArguments)])
def test_every_loss_of_a_phase_has_a_weight_there_and_no_other_has(phase: int, arguments: type) -> None:
    weights = {name.removesuffix("_weight") for name in arguments.__dataclass_fields__ if name.endswith("_weight")}
    assert weights == {term.name for term in terms_of(phase)}


def test_a_loss_that_computes_says_what_it_reads() -> None:
    assert all((term.compute is None) == (term.reads is None) for term in terms.TERMS)


@pytest.mark.parametrize("place", [0, 1])
def test_two_losses_of_states_both_see_them(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def count(view: LayerView, weight: float) -> torch.Tensor:
        seen.append((len(view.student_states), len(view.teacher_states)))
        return torch.stack([state.mean() for state in view.student_states])

    extra = LossTerm("extra", (1,), count, "states")
    monkeypatch.setattr(terms, "TERMS", (*terms.TERMS[:place], extra, *terms.TERMS[place:]))
    losses = LossArguments()
    object.__setattr__(losses, "extra_weight", "2")
    teacher = tiny.xlmr(50)
    built = build_student(teacher, layer_reduction_factor=2)
    found = Distiller(built.student, teacher, built.layer_map, losses)(
        built.student, {"input_ids": torch.randint(5, 50, (2, 9))}
    )
    assert seen == [(3, 3)]
    expected = found["hidden"].mean() + found["attention"].mean() + 2 * found["extra"].mean()
    torch.testing.assert_close(found.total, expected)
    assert {"extra", "extra_2"} <= set(found.scalars())


def test_teacher_states_are_freed_before_the_maps_are_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, where a loss of states leaves the lists that it reads."""
    left = {}

    def compute(name: str) -> Callable[[LayerView, float], torch.Tensor]:
        def values(view: LayerView, weight: float) -> torch.Tensor:
            left[name] = len(view.teacher_states)
            return torch.ones(1)

        return values

    kinds = {"hidden": "states", "attention": "maps", "logit": None, "mlm": None}
    registry = [LossTerm(n, (1,), compute(n) if kind else None, kind) for n, kind in kinds.items()]  # type: ignore[arg-type]
    monkeypatch.setattr(terms, "TERMS", tuple(registry))

    class Layers(BaseDistiller):
        phase = 1

    teacher = tiny.xlmr(50)
    built = build_student(teacher, layer_reduction_factor=2)
    for hidden, expected in (("1", {"hidden": 1, "attention": 0}), ("0", {"attention": 0})):
        left.clear()
        losses = LossArguments(hidden_weight=hidden)
        each = Layers(built.student, teacher, built.layer_map, losses)
        view = LayerView([torch.ones(1, 2, 4)], [torch.ones(1, 2, 4)], [], [], [], None, None, losses)
        each.add_layer_losses(terms.LossTerms(), view, each.weights_at(0.0))
        assert left == expected
