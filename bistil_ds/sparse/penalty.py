"""L1 regularisation of the change: λ times the mean over maskable entries of |θ − θ0| (LT-SFT, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bistil_ds.distributed.partitions import full_size
from bistil_ds.sparse.base_weights import BaseWeights
from bistil_ds.sparse.deltas import SparseDeltas, attached_to
from bistil_ds.sparse.maskable import maskable_parameters


def penalise(trainer: Any, weight: float, base_folder: Path) -> None:
    """Make backward add the penalty's gradient, λ/N · sign(θ − θ0), at each trained maskable entry.

    λ is `weight`, and N the number of maskable entries. The logged loss does not contain the penalty. With gradient
    accumulation over m micro-steps, each micro-step adds 1/m of the penalty's gradient. In the sparse stage, the deltas
    are θ − θ0. In the full stage, a copy of θ0 is kept in memory beside the model.
    """
    if not weight:
        return
    parameters = maskable_parameters(trainer.model)
    weight /= sum(map(full_size, parameters.values()))
    for parameter, change in _changes(parameters, attached_to(trainer.model), trainer, base_folder):
        parameter.register_hook(_hook(trainer, weight, change))


def _changes(
    parameters: Mapping[str, nn.Parameter], deltas: SparseDeltas | None, trainer: Any, base_folder: Path
) -> list[tuple[nn.Parameter, Callable[[], Tensor]]]:
    if deltas is not None:
        return [(delta.delta_K, delta.delta_K.detach) for delta in deltas.deltas.values()]
    base = BaseWeights(trainer.model, base_folder)
    found = []
    for name, parameter in parameters.items():
        start = base.of(name, parameter).to(trainer.args.device, parameter.dtype).view_as(parameter)
        found.append((parameter, _difference(parameter, start)))
    return found


def _difference(parameter: nn.Parameter, start: Tensor) -> Callable[[], Tensor]:
    return lambda: parameter.detach() - start.to(parameter.dtype)


def _hook(trainer: Any, weight: float, change: Callable[[], Tensor]) -> Callable[[Tensor], Tensor]:
    def add(gradient: Tensor) -> Tensor:
        return torch.add(
            gradient, change().sign().to(gradient), alpha=weight / trainer.current_gradient_accumulation_steps
        )

    return add
