"""FLOP formula of the hidden-state loss, in the convention of `bistil_kernels.flops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bistil_kernels.runtime.flops import Shape


def hidden_state(
    student: Sequence[Shape],
    teacher: Sequence[Shape],
    mask: Shape | None,
    projections: Sequence[Shape] | None,
    *args: Any,
    **kwargs: Any,
) -> int:
    """Count the products that project the teacher's states to the student's width; 0 without projections."""
    if projections is None:
        return 0
    return sum(2 * s[0] * s[1] * p[0] * p[1] for s, p in zip(student, projections))


FORMULAS = {"hidden_state": hidden_state}
