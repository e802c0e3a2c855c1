"""Run a masked language model's head only where a loss needs it, inside the model's own forward.

At ZeRO-3, code outside a module that reads the module's weight gets an empty, partitioned tensor. So the head runs
inside the model. While a `HeadTap` is entered, the head receives only the wanted positions, and the decoder (the final
projection) hands its input, weight and bias to a loss instead of returning logits over the vocabulary.

Shapes: B batch, T tokens, D width, N wanted positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.models.families import FAMILIES, POOLER, family_of

IGNORED = -100  # label of a token from which nothing is learned

Projection = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def masked_lm_head(model: nn.Module) -> nn.Module:
    """Return the module of a `...ForMaskedLM` that is called with the encoder's last state.

    It is the decoder itself, contains the decoder, or is called before it.

    Raises:
        TypeError: the model has no such module.
    """
    names = dict.fromkeys(family.head.first for family in FAMILIES.values() if family.head)
    for name in names:
        head = getattr(model, name, None)
        if isinstance(head, nn.Module):
            return head
    raise TypeError(f"{type(model).__name__} has no masked-LM head ({' or '.join(names)})")


class HeadTap:
    """Context in which `model(...).logits` is the result of `projection(hidden [N, D], weight [V, D], bias [V])`.

    `set` chooses the positions (flat indices into the batch's B·T tokens) and the projection. Without positions, the
    head does not run at all, and `logits` is an empty tensor. Without a projection, the model's own decoder runs. A
    model without a masked-LM head runs as it is.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.decoder: Any = model.get_output_embeddings()
        self.head: Any = None if self.decoder is None else masked_lm_head(model)
        self.positions: Tensor | None = None
        self.projection: Projection | None = None

    def set(self, positions: Tensor | None, projection: Projection | None) -> None:
        """Set the positions (int64 [N]) and the projection for all forward passes until the tap is left."""
        self.positions, self.projection = positions, projection

    def __enter__(self) -> HeadTap:
        if self.head is not None:
            # Both are methods and not closures, because a compiled model is compiled again for each new function.
            self.decoder.forward, self.head.forward = self._run_decoder, self._run_head
        return self

    def _run_head(self, hidden_BTD: Tensor) -> Tensor:
        if self.positions is None:
            return hidden_BTD.new_zeros(0)
        hidden_ND = hidden_BTD.flatten(0, 1)[self.positions]
        if self.head is self.decoder:
            return self._run_decoder(hidden_ND)
        result: Tensor = type(self.head).forward(self.head, hidden_ND)
        return result

    @torch.compiler.disable
    def _run_decoder(self, hidden_ND: Tensor) -> Tensor:
        if self.positions is None:  # the head is called before the decoder, and did not run
            return hidden_ND
        if self.projection is None:
            logits: Tensor = type(self.decoder).forward(self.decoder, hidden_ND)  # nn.Linear's or SparseLinear's
            return logits
        return self.projection(hidden_ND, self.decoder.weight, self.decoder.bias)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module in {self.head, self.decoder} - {None}:
            del module.forward
        self.set(None, None)  # a projection may hold tensors of a batch, which are freed here


def head_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """Return the parameters on which no state of the encoder depends: those of the masked-LM head and of the pooler.

    The weight of an output projection that is tied to the input embeddings is not among them.
    """
    encoder = model.base_model
    pooler = getattr(encoder, POOLER, None)
    behind = {id(p) for p in pooler.parameters()} if pooler is not None else set()
    inside = {id(p) for p in encoder.parameters()} - behind
    return [p for p in model.parameters() if id(p) not in inside]


def with_both_biases(model: PreTrainedModel, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return name → weight with the decoder's bias under the name of the head's second bias too, where there is one.

    An untied head has two biases. Transformers 5 adds the decoder's to the logits, transformers 4 the other.
    """
    head, weights = family_of(model).head, dict(state_dict)
    if head and head.bias and (bias_V := weights.get(f"{head.decoder}.bias")) is not None:
        weights[head.bias] = bias_V.clone()
    return weights


def flat_positions(mask_BT: Tensor) -> Tensor:
    """Return the flat int64 indices of a boolean mask's True entries."""
    return torch.nonzero(mask_BT.flatten(), as_tuple=True)[0]
