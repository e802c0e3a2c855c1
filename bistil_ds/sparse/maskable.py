"""The parameters that sparse training may choose from: the base model's, except those of its layer norms."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig

from bistil_ds.distributed.partitions import full_size
from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES, is_norm
from bistil_ds.models.parameters import unwrap
from bistil_ds.sparse.modules import DELTA


def base_model_of(model: nn.Module) -> tuple[str, nn.Module]:
    """Return (prefix, base model); in `model`, the names of the base model's parameters begin with the prefix.

    A model without a head is its own base model; the prefix is then "".
    """
    model = unwrap(model)
    prefix = str(getattr(model, "base_model_prefix", ""))
    base = getattr(model, prefix, None) if prefix else None
    return (f"{prefix}.", base) if isinstance(base, nn.Module) else ("", model)


def is_maskable(base: nn.Module, place: str) -> bool:
    """Return whether sparse training may choose among the weights of the module at `place` in the base model `base`.

    It may not choose from norms, nor from modules that are never called (see `Family`).
    """
    family = FAMILIES.get(getattr(getattr(base, "config", None), "model_type", ""))
    return not is_norm(base.get_submodule(place)) and (family is None or place not in family.never_called)


def maskable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return name → parameter, sorted by name; a tied parameter appears once, under the first of its names.

    Word embeddings and biases are included. What `is_maskable` excludes and everything outside the base model are not.
    """
    prefix, base = base_model_of(model)
    found = {
        f"{prefix}{place}.{name}" if place else f"{prefix}{name}": parameter
        for place, module in base.named_modules()
        if is_maskable(base, place)
        for name, parameter in module.named_parameters(recurse=False)
        if not name.endswith(DELTA)
    }
    names: dict[nn.Parameter, str] = {}
    for name in sorted(found):
        names.setdefault(found[name], name)
    return {name: parameter for parameter, name in names.items()}


def maskable_count(model: nn.Module | PretrainedConfig) -> int:
    """Return how many entries sparse training may choose from; a configuration is enough, no weights are needed."""
    if isinstance(model, PretrainedConfig):
        with torch.device("meta"):
            model = AutoModel.from_config(model)
    return sum(map(full_size, maskable_parameters(model).values()))


def entries_to_train(density: float, k: int | None, maskable: int) -> int:
    """Return K: `k` itself, or the share `density` of the maskable entries.

    Raises:
        InputError: the density is 0 or less, or above 1, or `k` is below 1 or above `maskable`.
    """
    if k is None:
        if not 0 < density <= 1:
            raise InputError(f"--density {density:g}: expected a number above 0 and at most 1, such as 0.08")
        return max(1, min(maskable, round(density * maskable)))
    if not 1 <= k <= maskable:
        raise InputError(f"--k {k}: expected 1 to {maskable}, the entries of the base model without its layer norms")
    return k
