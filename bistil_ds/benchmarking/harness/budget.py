"""Divide a run's time among its cases."""

from __future__ import annotations

import time
from collections.abc import Sequence


class Budget:
    """Time for measuring, divided among cases by weight. Time that one case does not use goes to the later ones."""

    def __init__(self, seconds: float, weights: Sequence[float]) -> None:
        self.stop = time.perf_counter() + seconds
        self.whole = self.left = sum(weights)

    def allot(self, weight: float) -> float:
        """Return the seconds that the next case, of this weight, may take."""
        return max(0.0, self.stop - time.perf_counter()) * weight / self.left

    def spend(self, weight: float) -> None:
        """Count a case of this weight as done."""
        self.left -= weight

    def done(self, part: float = 0.0) -> float:
        """Return the share of all weight that is done, 0 to 1; `part` of the next case's weight counts as done too."""
        return 1 - (self.left - part) / self.whole
