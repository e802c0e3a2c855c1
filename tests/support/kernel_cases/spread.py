"""Combine parameters of a test; `make test` runs an even selection of the combinations, the others are marked slow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest


def spread(*axes: Iterable[Any], every: int = 3) -> list[Any]:
    """Return all combinations of the axes' values, as parameters; one in `every` of them is not marked slow.

    An axis is a collection of values, or a mapping from names to values. A combination is fast if its places along the
    axes add up to a multiple of `every`. So all values of an axis are in about equally many fast combinations. If an
    axis has `every` values, each choice of values for the other axes is fast with exactly one of them.
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
