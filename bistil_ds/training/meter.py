"""Means of the loss terms since the last log line, over batches and ranks, for each language."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from bistil_ds.distributed.startup import add_over_ranks


class TermMeter:
    """Meter that sums scalars on the device without synchronising, and adds the ranks' sums up when it is drained.

    Between two drains every rank must add the same languages and names. This holds because the language of a micro-step
    is the same on every rank.
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[str, tuple[str, ...]], Tensor] = {}  # language, names → fp64 [names]
        self.weights: dict[str, float] = defaultdict(float)

    def add(self, language: str, scalars: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add one batch's scalars, counted `weight` times."""
        self.weights[language] += weight
        if not scalars:
            return
        key = language, tuple(scalars)
        added = torch.stack([value.detach() for value in scalars.values()]).double() * weight  # few launches for all
        self.sums[key] = self.sums[key] + added if key in self.sums else added

    def drain(self) -> dict[str, dict[str, float]]:
        """Return `{language: {term: weighted mean over batches and ranks}}` and empty the meter.

        A mean of weight 0 is 0. Every rank takes part.
        """
        if not self.sums:
            return {}
        languages = sorted(self.weights)
        sums: dict[tuple[str, str], Tensor] = {}
        for (language, names), values_N in self.sums.items():
            for name, value in zip(names, values_N, strict=True):
                sums[language, name] = sums[language, name] + value if (language, name) in sums else value
        keys = sorted(sums)
        first = next(iter(sums.values()))
        weights = torch.tensor([self.weights[one] for one in languages], dtype=torch.float64, device=first.device)
        flat = torch.cat([weights, torch.stack([sums[key] for key in keys])])
        add_over_ranks(flat)
        values = flat.tolist()
        count = dict(zip(languages, values, strict=False))
        result: dict[str, dict[str, float]] = {language: {} for language in languages}
        for (language, name), value in zip(keys, values[len(languages) :], strict=True):
            result[language][name] = value / count[language] if count[language] else 0.0
        self.sums.clear()
        self.weights.clear()
        return result
