"""FLOP formulas of scaling gradients, and what all formulas share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Shape = Sequence[int]


def no_products(*args: Any, **kwargs: Any) -> int:
    """Return 0, for operators without a matrix product."""
    return 0


FORMULAS = {"scale_gradients": no_products, "scale_gradients_": no_products}
