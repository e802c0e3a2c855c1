"""Measuring time, shared out among cases."""

from __future__ import annotations

import time
from collections.abc import Sequence


class Budget:
    """Measuring time, shared out by weight; what one case leaves over goes to the others."""

    def __init__(self, seconds: float, weights: Sequence[float]) -> None:
        self.stop = time.perf_counter() + seconds
        self.whole = self.left = sum(weights)

    def share(self, weight: float) -> float:
        """Seconds for a case of this weight."""
        return max(0.0, self.stop - time.perf_counter()) * weight / self.left

    def spend(self, weight: float) -> None:
        """A case of this weight is done."""
        self.left -= weight

    def done(self, part: float = 0.0) -> float:
        """The share of everything that is done, and `part` of the weight besides."""
        return 1 - (self.left - part) / self.whole
