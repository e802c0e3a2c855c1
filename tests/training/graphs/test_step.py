"""Test what a static step makes of a loss, apart from any model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bistil_ds.training.graphs.static_batch import StaticBatch
from bistil_ds.training.graphs.step import StaticStep
from bistil_ds.training.schedule import LossWeights, Weight
from bistil_ds.training.terms import LossTerms


def step(added: float, limit: float, trained: nn.Parameter, unused: nn.Parameter) -> StaticStep:
    """Return the step of the loss w·(sum of the weights) + `added`, whose gradient is w at each weight."""

    def losses(tensors: dict[str, Tensor], weights: LossWeights) -> LossTerms:
        return LossTerms(total=weights["hidden"] * trained.sum() + added)

    parameters = [trained, unused]
    optimizer = torch.optim.AdamW(parameters, lr=0.5, fused=True)
    batch = StaticBatch(1, 2, False, 0, torch.device("cpu"))
    return StaticStep(losses, {"hidden": Weight(1.0, 3.0)}, parameters, optimizer, batch, limit)


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_every_run_has_its_own_weights_and_clips(limit: float) -> None:
    trained, unused = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    static = step(0.0, limit, trained, unused)
    for weight in (1.0, 1.5, 2.0, 2.5, 3.0):
        assert static.gradients({"input_ids": torch.ones(1, 2)}, {"hidden": weight})["loss"] == 4 * weight
        assert static.norm == 2 * weight  # of four gradients of this size
        assert trained.grad is not None
        assert trained.grad.tolist() == pytest.approx([1 / 2 if limit else weight] * 4, rel=1e-5)
        assert unused.grad is None
    static.update()
    assert torch.allclose(trained, torch.tensor(1 - 0.5 - 0.5 * 0.01))  # Adam's first step has the rate's length
    assert torch.equal(unused, torch.ones(4))
    assert static.as_record() == {"replayed": ["gradients"], "failed": {}}


def test_a_loss_that_is_not_finite_spoils_all_gradients() -> None:
    trained = nn.Parameter(torch.ones(4))
    static = step(math.inf, 0.0, trained, nn.Parameter(torch.ones(4)))
    for _ in range(5):
        assert static.gradients({"input_ids": torch.ones(1, 2)}, {"hidden": 1.0})["loss"] == math.inf
        assert static.norm.isnan()
        assert trained.grad is not None
        assert trained.grad.isnan().all()


def test_the_norm_tells_of_a_loss_that_is_not_finite_and_reaches_no_weight() -> None:
    static = step(math.inf, 0.0, nn.Parameter(torch.ones(0)), nn.Parameter(torch.ones(4)))
    static.gradients({"input_ids": torch.ones(1, 2)}, {"hidden": 1.0})
    assert static.norm.isnan()
