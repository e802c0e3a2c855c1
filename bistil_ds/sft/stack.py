"""The stack of sparse fine-tunings (SFTs) on a model. It keeps the values that each SFT replaced.

With these values any SFT can be reverted to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bistil_ds.models.parameters import unwrap
from bistil_ds.sft.changes import Change

Layer = tuple[str, list[Change]]  # an SFT's token, and its changes to the model


def tokens_on(model: nn.Module) -> list[str]:
    """Return the tokens of the SFTs that are applied to this model, in the order of application."""
    return [token for token, _ in _stack(model)]


def put_on(model: nn.Module, layer: Layer) -> None:
    """Apply one more SFT after the others."""
    token, changes = layer
    _stack(model).append((token, [(change, change.put()) for change in changes]))


def replace(model: nn.Module, token: str, new: Sequence[Layer]) -> None:
    """Replace the SFT with `token` by the SFTs `new`.

    SFTs that were applied after it are reverted first and applied again afterwards, in their order.
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
    """Return the model's stack, which is an attribute of the model, so that copying a model copies the stack."""
    owner = unwrap(model)
    if not hasattr(owner, "_applied_sfts"):
        owner._applied_sfts = []  # type: ignore[assignment]
    return owner._applied_sfts  # type: ignore[return-value]
