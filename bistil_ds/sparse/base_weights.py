"""Read θ0, the weights that sparse training starts from, one tensor at a time from their folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bistil_ds.distributed.partitions import full_shape, full_size, parts
from bistil_ds.errors import InputError
from bistil_ds.models.parameters import ParameterNames
from bistil_ds.models.weight_files import WeightFolder


class BaseWeights:
    """Reader of a base model's folder: finds the stored weight of each parameter of a model loaded from there."""

    def __init__(self, model: nn.Module, folder: str | Path) -> None:
        self._names, self._weights = ParameterNames(model), WeightFolder(folder)

    def of(self, name: str, parameter: nn.Parameter) -> Tensor:
        """Return the stored weight of `parameter`, flat and in the file's dtype; `name` is for messages.

        Raises:
            InputError: the folder has no weight of this parameter, or has it in another shape.
        """
        stored = next((n for n in self._names.names_of(parameter) if n in self._weights), None)
        if stored is None:
            raise InputError(f"{self._weights.folder} has no weight {name}: give the folder the model is loaded from")
        weight = self._weights[stored]
        if tuple(weight.shape) != full_shape(parameter):
            raise InputError(
                f"{self._weights.folder}: {stored} is {list(weight.shape)}, the model's {list(full_shape(parameter))}"
            )
        return weight.reshape(-1)

    def check(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Raise InputError unless each parameter equals the folder's weight, rounded to the parameter's dtype.

        Each rank compares only the entries that it holds.
        """
        for name, parameter in parameters.items():
            stored = self.of(name, parameter)
            for part, first in parts(parameter):
                held = part[: max(0, full_size(parameter) - first)]
                expected = stored[first : first + len(held)].to(held)
                if not torch.equal(held, expected):
                    raise InputError(f"{name} is not the one in {self._weights.folder}: load the model from there")
