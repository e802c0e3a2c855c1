"""Loss weights that stay or change linearly over a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from bistil_ds.errors import InputError

# Loss → its weight: a number, or an fp32 scalar on the device whose value the host does not know.
LossWeight = float | Tensor
LossWeights = Mapping[str, LossWeight]


@dataclass(frozen=True)
class Weight:
    """A loss weight that goes linearly from `start` to `end` while the run's progress goes from 0 to 1."""

    start: float
    end: float

    @classmethod
    def parse(cls, text: str | float, name: str = "weight") -> Weight:
        """Return the weight that `text` describes: `"0.5"` is constant, `"1:0"` falls from 1 to 0.

        Raises:
            InputError: `text` is anything else, or a number is negative or not finite; the message names `--name`.
        """
        try:
            parts = [float(part) for part in str(text).split(":")]
        except ValueError:
            parts = []
        if not 1 <= len(parts) <= 2 or not all(0 <= part < float("inf") for part in parts):
            raise InputError(f"--{name} {text}: expected a number of at least 0, or FROM:TO such as 1:0")
        return cls(parts[0], parts[-1])

    def at(self, progress: float) -> float:
        """Return the weight when `progress` of the run (0 to 1) is done."""
        return self.start + (self.end - self.start) * min(max(progress, 0.0), 1.0)

    @property
    def changes(self) -> bool:
        """Return whether the weight differs between two points of the run."""
        return self.start != self.end

    @property
    def used(self) -> bool:
        """Return whether the weight is ever other than 0."""
        return self.start > 0 or self.end > 0
