"""A training step as two functions that can be replayed: losses and gradients, then the optimizer's update.

Between the two, the host reads the loss and the gradients' norm. So an update that would spoil the model is not made,
as in every other run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from bistil_ds.training.graphs.replay import WARM_UP, Replayed
from bistil_ds.training.graphs.static_batch import StaticBatch
from bistil_ds.training.schedule import LossWeights, Weight
from bistil_ds.training.terms import LossTerms

STEPS_BEFORE = WARM_UP + 1  # steps of a run after which all of a step is replayed

# The batch's tensors, and the weight of each loss → its terms.
Losses = Callable[[dict[str, Tensor], LossWeights], LossTerms]


class StaticStep:
    """The step of a trainer on one rank, without accumulation and without a loss scaler.

    Args:
        losses: computes the terms of a batch. Shapes, and what is launched, must not depend on values in the batch.
        weights: the weight of each loss.
        parameters: the parameters that train; those that no loss reaches get no gradient.
        optimizer: torch's fused AdamW over them.
        batch: receives the inputs.
        max_grad_norm: gradients are clipped to this norm; 0: not at all.

    Attributes:
        norm: 2-norm of all gradients of the last step before clipping, fp32 scalar.
    """

    norm: Tensor

    def __init__(
        self,
        losses: Losses,
        weights: Mapping[str, Weight],
        parameters: list[nn.Parameter],
        optimizer: Any,
        batch: StaticBatch,
        max_grad_norm: float,
    ) -> None:
        device = parameters[0].device
        self._losses, self._parameters, self._batch = losses, parameters, batch
        self._optimizer, self._limit = optimizer, max_grad_norm or float("inf")
        # A weight that changes over the run is read from the device; a constant one is part of the launches.
        self._scheduled = {name: torch.zeros((), device=device) for name, weight in weights.items() if weight.changes}
        self._weights: LossWeights = {**{name: weight.start for name, weight in weights.items()}, **self._scheduled}
        # On CUDA, fused AdamW takes its rate in fp32 only. On a CPU, fp64 keeps the rate's bits.
        dtype = torch.float32 if device.type == "cuda" else torch.float64
        self._rates = [torch.zeros((), dtype=dtype, device=device) for _ in optimizer.param_groups]
        self._step = partial(type(optimizer).step, optimizer)  # `update` takes the place of the optimizer's own
        self._backward = Replayed(self._losses_and_gradients, device, compared=2)
        self._update = Replayed(self._step_at_rates, device, warm_up=1)

    def gradients(self, batch: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Tensor]:
        """Compute the losses of a batch, and leave clipped gradients in the parameters' `grad`.

        If the loss is not finite, all gradients and their norm are NaN.

        Args:
            batch: see `StaticBatch.fill`.
            weights: the weight of each loss in this step.

        Returns:
            `LossTerms.scalars`; the next call may overwrite the tensors.
        """
        self._batch.fill(batch)
        for name, weight in self._scheduled.items():
            weight.fill_(weights[name])
        outputs = list(self._backward())
        self.norm, *values = outputs[: 1 + len(self._names)]
        for parameter, gradient in zip(self._reached, outputs[1 + len(self._names) :], strict=True):
            parameter.grad = gradient
        return dict(zip(self._names, values, strict=True))

    def _losses_and_gradients(self) -> tuple[Tensor, ...]:
        for parameter in self._parameters:
            parameter.grad = None
        terms = self._losses(self._batch.tensors, self._weights)
        one = terms.total.detach() * 0 + 1  # or NaN, if the loss is not finite
        (terms.total * one).backward()
        self._reached = [parameter for parameter in self._parameters if parameter.grad is not None]
        norm = one * clip_grad_norm_(self._reached, self._limit)
        scalars = terms.scalars()
        self._names = list(scalars)
        return norm, *scalars.values(), *(parameter.grad for parameter in self._reached if parameter.grad is not None)

    def update(self, closure: None = None) -> None:
        """Take the optimizer's step at the learning rates of its parameter groups."""
        if not self._backward.is_replayed:  # gradients are not in their places yet
            self._step()
            return
        for rate, group in zip(self._rates, self._optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        self._update()

    def _step_at_rates(self) -> tuple[Tensor, ...]:
        with _capturable(self._optimizer.param_groups, self._rates), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This instance was constructed with capturable")
            self._step()
        return ()

    def as_record(self) -> dict[str, Any]:
        """Return which parts are replayed, and the reasons for those that failed, as JSON values."""
        parts = {"gradients": self._backward, "update": self._update}
        failed = {name: part.failure for name, part in parts.items() if part.failure is not None}
        return {"replayed": [name for name, part in parts.items() if part.is_replayed], "failed": failed}


@contextmanager
def _capturable(groups: list[dict[str, Any]], rates: list[Tensor]) -> Iterator[None]:
    """Let an optimizer read its rates from the device. Afterwards, and so in checkpoints, the groups are as before."""
    before = [{name: group[name] for name in ("lr", "capturable")} for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group.update(lr=rate, capturable=True)
    try:
        yield
    finally:
        for group, old in zip(groups, before, strict=True):
            group.update(old)
