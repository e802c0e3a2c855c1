"""A time budget that cases share."""

from __future__ import annotations

import time
from collections.abc import Sequence


class Budget:
    """Measuring time that is shared out by weight. What one case leaves over goes to the others."""

    def __init__(self, seconds: float, weights: Sequence[float]) -> None:
        self.stop = time.perf_counter() + seconds
        self.whole = self.left = sum(weights)

    def allot(self, weight: float) -> float:
        """Return the seconds for a case of this weight."""
        return max(0.0, self.stop - time.perf_counter()) * weight / self.left

    def spend(self, weight: float) -> None:
        """Note that a case of this weight is done."""
        self.left -= weight

    def done(self, part: float = 0.0) -> float:
        """Return the share of the whole weight that is done, 0 to 1, with `part` counted as done too."""
        return 1 - (self.left - part) / self.whole
