"""The loss terms of one batch, in both phases."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Terms:
    """Every term of one batch, fp32 on the model's device; None for a loss that is not used.

    `hidden` and `attention` hold one value for each pair: S+1 and S for S student layers, or 1 each where only the last
    layer is aligned. The other losses are scalars.
    """

    total: Tensor
    hidden: Tensor | None = None
    attention: Tensor | None = None
    logit: Tensor | None = None
    mlm: Tensor | None = None
    label: Tensor | None = None  # the loss on a task's own labels
    cosine: Tensor | None = None  # a value for each pair of states, in evaluation only; not in the total

    def scalars(self) -> dict[str, Tensor]:
        """Return detached fp32 scalars by name: `loss`, each term's mean, and `hidden_i` and the like for pair i."""
        named = {"loss": self.total.detach()}
        for name in ("hidden", "attention", "logit", "mlm", "label", "cosine"):
            value = getattr(self, name)
            if value is None:
                continue
            named[name] = value.detach().mean()
            if value.dim():
                named.update({f"{name}_{i}": one for i, one in enumerate(value.detach())})
        return named
