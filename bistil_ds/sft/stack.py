"""The SFTs a model carries, first to last, with what each replaced; so that any of them comes off with exact bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bistil_ds.models.parameters import unwrap
from bistil_ds.sft.changes import Change

Layer = tuple[str, list[Change]]  # an SFT's token, and what it changes


def tokens_on(model: nn.Module) -> list[str]:
    """The tokens of the SFTs on this model."""
    return [token for token, _ in _stack(model)]


def put_on(model: nn.Module, layer: Layer) -> None:
    """Apply one more."""
    token, changes = layer
    _stack(model).append((token, [(change, change.put()) for change in changes]))


def replace(model: nn.Module, token: str, new: Sequence[Layer]) -> None:
    """Off with what came after `token`, off with it, then `new` and the later ones on again in their order."""
    stack = _stack(model)
    place = tokens_on(model).index(token)
    later = [(each, [change for change, _ in puts]) for each, puts in stack[place + 1 :]]
    for _, puts in reversed(stack[place:]):
        for change, old in puts:
            change.put_back(old)
    del stack[place:]
    for layer in [*new, *later]:
        put_on(model, layer)


def _stack(model: nn.Module) -> list[tuple[str, list[tuple[Change, torch.Tensor]]]]:
    """Kept on the model, so that copies of it have their own."""
    owner = unwrap(model)
    if not hasattr(owner, "_applied_sfts"):
        owner._applied_sfts = []  # type: ignore[assignment]
    return owner._applied_sfts  # type: ignore[return-value]
