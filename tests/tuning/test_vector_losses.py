"""Test the losses of sentence vectors against the same losses written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bistil_ds.errors import InputError
from bistil_ds.tasks import find_task
from bistil_ds.tuning.arguments import TaskLossArguments
from bistil_ds.tuning.distiller import loss_weights
from bistil_ds.tuning.vector_losses import VECTOR_LOSSES, similarity


def vectors(values: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(5, values, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def cosines(vectors_BE: Tensor) -> Tensor:
    unit = vectors_BE / vectors_BE.norm(dim=1, keepdim=True)
    return unit @ unit.T


def written_out(ours: Tensor, theirs: Tensor, temperature: float) -> dict[str, Tensor]:
    rows = []
    for i in range(len(ours)):
        others = [j for j in range(len(ours)) if j != i]
        p = (cosines(theirs)[i, others] / temperature).softmax(0)
        q = (cosines(ours)[i, others] / temperature).softmax(0)
        rows.append((p * (p.log() - q.log())).sum())
    cosine = (ours * theirs).sum(1) / ours.norm(dim=1) / theirs.norm(dim=1)
    return {
        "vector_cosine": (1 - cosine).mean(),
        "vector_mse": ((ours - theirs) ** 2).mean() / (theirs**2).mean(),
        "similarity": torch.stack(rows).mean(),
    }


@pytest.mark.parametrize("name", VECTOR_LOSSES)
def test_values_and_gradients_are_those_of_the_formula(name: str) -> None:
    ours, theirs = vectors(), vectors(seed=1).detach()
    loss = VECTOR_LOSSES[name](ours, theirs, 0.3)
    (found,) = torch.autograd.grad(loss, ours)
    exact = ours.detach().double().requires_grad_()
    expected = written_out(exact, theirs.double(), 0.3)[name]
    (gradient,) = torch.autograd.grad(expected, exact)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.double(), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", VECTOR_LOSSES)
def test_equal_vectors_lose_nothing(name: str) -> None:
    same = vectors()
    assert VECTOR_LOSSES[name](same, same.detach(), 0.05).detach().abs() < 1e-6


def test_similarities_compare_vectors_of_any_dimensions_and_scale() -> None:
    ours, theirs = vectors(3), vectors(7, seed=1).detach()
    loss = similarity(ours, theirs, 0.1)
    torch.testing.assert_close(loss, similarity(5 * ours, 0.1 * theirs, 0.1))
    assert similarity(ours[:1], theirs[:1], 0.1).detach() == 0


@pytest.mark.parametrize(
    ("task", "weights", "expected"),
    [
        ("embed", {"label_weight": "1"}, "--label_weight 1: --task embed has no such loss"),
        ("embed", {"logit_weight": "0.5"}, "--logit_weight 0.5: --task embed has no such loss"),
        ("ner", {"similarity_weight": "2"}, "--similarity_weight 2: --task ner has no such loss"),
        (
            "embed",
            {"vector_cosine_weight": "0", "vector_mse_weight": "0", "similarity_weight": "0"},
            "give vector_cosine_weight or vector_mse_weight or similarity_weight a weight",
        ),
        ("embed", {"similarity_weight": "1:x"}, "--similarity_weight 1:x: expected a number"),
    ],
)
def test_weights_that_a_task_has_no_use_for_are_refused(task: str, weights: dict[str, str], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        loss_weights(TaskLossArguments(**weights), find_task(task))


def test_each_task_has_the_losses_of_its_outputs() -> None:
    losses = TaskLossArguments()
    used = {
        name: {loss for loss, weight in loss_weights(losses, task).items() if weight.used}
        for name, task in (
            ("ner", find_task("ner")),
            ("embed", find_task("embed")),
            ("own", find_task("embed").configured(dimension="student")),
        )
    }
    layers = {"hidden", "attention"}
    assert used["ner"] == {*layers, "logit"}
    assert used["embed"] == {*layers, *VECTOR_LOSSES}
    assert used["own"] == {*layers, "similarity"}
