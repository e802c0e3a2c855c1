"""Parameters of a test in every combination, of which a spread stays in `make test` and the others are slow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest


def spread(*axes: Iterable[Any], every: int = 3) -> list[Any]:
    """Return all combinations of the axes' values, as parameters; one in `every` of them is not marked slow.

    An axis is a collection of values, or a mapping from their names. Fast are those combinations whose places along
    the axes add up to a multiple of `every`. So where an axis has `every` values, each combination of the others is
    fast with just one of them, and each of them is fast with about as many combinations.
    """
    found = []
    for one in product(*(_named(axis) for axis in axes)):
        marks = [] if sum(place for place, _, _ in one) % every == 0 else [pytest.mark.slow]
        found.append(pytest.param(*(value for _, _, value in one), id="-".join(n for _, n, _ in one), marks=marks))
    return found


def _named(axis: Iterable[Any]) -> list[tuple[int, str, Any]]:
    """Return the place, name and value of each entry of an axis."""
    pairs = axis.items() if isinstance(axis, Mapping) else ((str(x).removeprefix("torch."), x) for x in axis)
    return [(place, name, value) for place, (name, value) in enumerate(pairs)]
