"""The loss terms of one batch, in both phases."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Terms:
    """Every term of one batch, fp32 on the model's device; `hidden` [S+1] and `attention` [S] are one value a pair."""

    total: Tensor
    hidden: Tensor | None = None
    attention: Tensor | None = None
    logit: Tensor | None = None
    mlm: Tensor | None = None
    label: Tensor | None = None  # the loss on a task's own labels
    cosine: Tensor | None = None  # [S+1], measured in evaluation only, in no sum

    def scalars(self) -> dict[str, Tensor]:
        """Detached fp32 scalars by name: the total, the mean of each term, and `hidden_i`, `attention_i`."""
        named = {"loss": self.total.detach()}
        for name in ("hidden", "attention", "logit", "mlm", "label", "cosine"):
            value = getattr(self, name)
            if value is None:
                continue
            named[name] = value.detach().mean()
            if value.dim():
                named.update({f"{name}_{i}": one for i, one in enumerate(value.detach())})
        return named
