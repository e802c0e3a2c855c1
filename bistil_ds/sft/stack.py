"""The stack of sparse fine-tunings (SFTs) that a model carries, with the values that each of them replaced.

Because of those values, any SFT can be taken off with exact bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bistil_ds.models.parameters import unwrap
from bistil_ds.sft.changes import Change

Layer = tuple[str, list[Change]]  # an SFT's token, and its changes to the model


def tokens_on(model: nn.Module) -> list[str]:
    """Return the tokens of the SFTs on this model, first to last."""
    return [token for token, _ in _stack(model)]


def put_on(model: nn.Module, layer: Layer) -> None:
    """Apply one more SFT on top of the others."""
    token, changes = layer
    _stack(model).append((token, [(change, change.put()) for change in changes]))


def replace(model: nn.Module, token: str, new: Sequence[Layer]) -> None:
    """Put the SFTs `new` in the place of the one with `token`.

    The SFTs above it are taken off first and applied again afterwards, in their order.
    """
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
    """Return the model's stack. It is an attribute of the model, so that a copy of the model has a stack of its own."""
    owner = unwrap(model)
    if not hasattr(owner, "_applied_sfts"):
        owner._applied_sfts = []  # type: ignore[assignment]
    return owner._applied_sfts  # type: ignore[return-value]
