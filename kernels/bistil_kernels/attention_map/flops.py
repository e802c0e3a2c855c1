"""FLOP formulas of the attention-map loss, in the convention of `bistil_kernels.flops`.

B sequences, H heads, T tokens, d the width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bistil_kernels.runtime.flops import Shape


def attention_map(
    queries_s: Sequence[Shape],
    keys_s: Sequence[Shape],
    queries_t: Sequence[Shape],
    keys_t: Sequence[Shape],
    mask: Shape | None,
    kl: bool,
    mask_queries: bool,
    upstream: float,
    with_gradient: bool,
    **kwargs: Any,
) -> int:
    """Count each pair's scores [B, H, T, T] of student and teacher, and the gradient at the queries if it is wanted.

    The kernel computes tiles of scores twice to save memory. The second time is not work of the model, so it is not
    counted.
    """
    return sum((1 + with_gradient) * _scores(s) + _scores(t) for s, t in zip(queries_s, queries_t))


def attention_map_backward(
    queries_s: Sequence[Shape], keys_s: Sequence[Shape], queries_t: Sequence[Shape], *args: Any, **kwargs: Any
) -> int:
    """Count each pair's scores again, because no map is kept, and the gradient at the keys."""
    return sum(2 * _scores(s) + _scores(t) for s, t in zip(queries_s, queries_t))


def _scores(queries: Shape) -> int:
    B, H, T, d = queries
    return 2 * B * H * T * T * d


FORMULAS = {"attention_map": attention_map, "attention_map_backward": attention_map_backward}
