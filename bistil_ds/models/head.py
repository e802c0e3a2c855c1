"""Run a masked language model's head only where a loss needs it, inside the model's own forward.

At ZeRO-3, code outside a module that reads the module's weight gets an empty, partitioned tensor. So the head runs
inside the model. While a `HeadTap` is entered, the head receives only the wanted positions, and the decoder (the final
projection) hands its input, weight and bias to a loss instead of returning logits over the vocabulary.

Shapes: B batch, T tokens, D width, N wanted positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor, nn

from bistil_ds.models.families import FAMILIES

IGNORED = -100  # label of a token from which nothing is learned

Projection = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def masked_lm_head(model: nn.Module) -> nn.Module:
    """Return the module of a `...ForMaskedLM` that turns hidden states into logits.

    Raises:
        TypeError: no module has the name that a family gives its head.
    """
    names = dict.fromkeys(family.head for family in FAMILIES.values())
    for name in names:
        head = getattr(model, name, None)
        if isinstance(head, nn.Module):
            return head
    raise TypeError(f"{type(model).__name__} has no masked-LM head ({' or '.join(names)})")


class HeadTap:
    """Context in which `model(...).logits` is the result of `projection(hidden [N, D], weight [V, D], bias [V])`.

    `set` chooses the positions (flat indices into the batch's B·T tokens) and the projection. Without positions, the
    head does not run at all, and `logits` is an empty tensor. Without a projection, the model's own decoder runs.
    """

    def __init__(self, model: nn.Module) -> None:
        self.head = masked_lm_head(model)
        decoder = model.get_output_embeddings()  # type: ignore[operator]
        assert isinstance(decoder, nn.Module)
        self.decoder = decoder
        self.positions: Tensor | None = None
        self.projection: Projection | None = None

    def set(self, positions: Tensor | None, projection: Projection | None) -> None:
        """Set the positions (int64 [N]) and the projection for all forward passes until the tap is left."""
        self.positions, self.projection = positions, projection

    def __enter__(self) -> HeadTap:
        # Both are methods and not closures, because a compiled model is compiled again for each new function.
        self.head.forward, self.decoder.forward = self._run_head, self._run_decoder
        return self

    def _run_head(self, hidden_BTD: Tensor) -> Tensor:
        if self.positions is None:
            return hidden_BTD.new_zeros(0)
        result: Tensor = type(self.head).forward(self.head, hidden_BTD.flatten(0, 1)[self.positions])
        return result

    @torch.compiler.disable
    def _run_decoder(self, hidden_ND: Tensor) -> Tensor:
        if self.projection is None:
            logits: Tensor = type(self.decoder).forward(self.decoder, hidden_ND)  # nn.Linear's or SparseLinear's
            return logits
        return self.projection(hidden_ND, self.decoder.weight, self.decoder.bias)  # type: ignore[arg-type]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self.head.forward, self.decoder.forward
        self.set(None, None)  # a projection may hold tensors of a batch, which are freed here


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that only the head uses: all of its parameters but the weight of the input embeddings."""
    embeddings = model.get_input_embeddings().weight  # type: ignore[operator]
    return [p for p in masked_lm_head(model).parameters() if p is not embeddings]


def flat_positions(mask_BT: Tensor) -> Tensor:
    """Return the flat int64 indices of a boolean mask's True entries."""
    return torch.nonzero(mask_BT.flatten(), as_tuple=True)[0]
