"""The changes that a sparse fine-tuning (SFT) makes to one model: its entries, matched to the model's parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bistil_ds.distributed.partitions import full_shape
from bistil_ds.errors import InputError
from bistil_ds.models.parameters import ParameterNames, unwrap


@dataclass(frozen=True)
class SparseDiff:
    """Values that are added to entries of one parameter.

    Attributes:
        shape: the shape of the parameter.
        indices_K: flat row-major indices, ascending and distinct; int32 if the parameter's size allows it, else int64.
        values_K: floating-point values, in the dtype in which they were stored.
    """

    shape: tuple[int, ...]
    indices_K: torch.Tensor
    values_K: torch.Tensor

    def __post_init__(self) -> None:
        indices = self.indices_K
        if indices.dim() != 1 or indices.shape != self.values_K.shape or not self.values_K.is_floating_point():
            raise ValueError(
                f"indices {tuple(indices.shape)}, values {tuple(self.values_K.shape)} {self.values_K.dtype}"
            )
        if indices.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"indices are {indices.dtype}")
        size = int(np.prod(self.shape))
        if len(indices) and (indices[0] < 0 or indices[-1] >= size or not bool((indices[1:] > indices[:-1]).all())):
            raise ValueError(f"indices are not ascending in 0..{size - 1}")
        narrow = torch.int32 if size <= torch.iinfo(torch.int32).max else torch.int64
        object.__setattr__(self, "indices_K", indices.to(narrow))


@dataclass(frozen=True)
class Change:
    """Change that an SFT makes to one parameter of one model.

    `values` are added at `indices_K`; where `indices_K` is None, they replace the parameter as a whole.
    """

    name: str
    parameter: nn.Parameter
    indices_K: torch.Tensor | None
    values: torch.Tensor

    def put(self) -> torch.Tensor:
        """Apply the change to `parameter` and return the values that it replaced; sums are computed in fp32."""
        flat = self.parameter.data.view(-1)
        if self.indices_K is None:
            old = flat.clone()
            flat.copy_(self.values.reshape(-1))
            return old
        where = self.indices_K.to(flat.device)
        old = flat[where]
        flat[where] = (old.float() + self.values.to(flat.device).float()).to(flat.dtype)
        return old

    def put_back(self, old: torch.Tensor) -> None:
        """Write back what `put` returned, even if the model has moved or changed its dtype since."""
        flat = self.parameter.data.view(-1)
        where = slice(None) if self.indices_K is None else self.indices_K.to(flat.device)
        flat[where] = old.to(flat)


def find_changes(
    sft_name: str, sparse: dict[str, SparseDiff], dense: dict[str, torch.Tensor], model: nn.Module
) -> list[Change]:
    """Return one `Change` for each parameter of `model` that the SFT changes; see `SparseFineTuning.changes`."""
    names = ParameterNames(model)
    found: dict[int, Change] = {}
    wanted = [(n, d.shape, d.indices_K, d.values_K) for n, d in sparse.items()]
    wanted += [(n, tuple(tensor.shape), None, tensor) for n, tensor in dense.items()]  # type: ignore[misc]
    for name, shape, indices_K, values in wanted:
        parameter = names.find(name)
        if parameter is None:
            if indices_K is None:
                continue
            raise InputError(f"SFT {sft_name} changes {name} {_show(shape)}: {_made_for_another(model, 'has none')}")
        if full_shape(parameter) != shape:
            problem = _made_for_another(model, f"has {_show(full_shape(parameter))}")
            raise InputError(f"SFT {sft_name} changes {name} {_show(shape)}: {problem}")
        change = Change(name, parameter, indices_K, values)
        if not _same(found.setdefault(id(parameter), change), change):
            other = found[id(parameter)].name
            raise InputError(f"SFT {sft_name} changes {other} and {name} differently, but this model ties them")
    return list(found.values())


def _same(one: Change, other: Change) -> bool:
    if one is other:
        return True
    if one.indices_K is None or other.indices_K is None:
        return one.indices_K is other.indices_K and torch.equal(one.values, other.values)
    return torch.equal(one.indices_K, other.indices_K) and torch.equal(one.values, other.values)


def _made_for_another(model: nn.Module, has: str) -> str:
    return f"this {type(unwrap(model)).__name__} {has}; it was made for another model"


def _show(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
