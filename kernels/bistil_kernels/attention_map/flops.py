"""FLOP formulas of the attention-map loss, in the convention of `bistil_kernels.flops`.

B sequences, H heads, T tokens, d the width of a head. Grouped keys change nothing: each head has its own scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bistil_kernels.attention_map.windows import pairs_within
from bistil_kernels.runtime.flops import Shape


def attention_map(
    queries_s: Sequence[Shape],
    keys_s: Sequence[Shape],
    queries_t: Sequence[Shape],
    keys_t: Sequence[Shape],
    mask: Shape | None,
    windows: Sequence[int],
    kl: bool,
    mask_queries: bool,
    upstream: float,
    with_gradient: bool,
    **kwargs: Any,
) -> int:
    """Count each pair's scores of student and teacher, and the gradient at the queries if it is wanted.

    A pair has T² scores for each head, or those within its window. The kernel computes tiles of scores twice to save
    memory. The second time is not work of the model, so it is not counted.
    """
    pairs = zip(queries_s, queries_t, windows)
    return sum((1 + with_gradient) * _scores(s, window) + _scores(t, window) for s, t, window in pairs)


def attention_map_backward(
    queries_s: Sequence[Shape],
    keys_s: Sequence[Shape],
    queries_t: Sequence[Shape],
    keys_t: Sequence[Shape],
    mask: Shape | None,
    windows: Sequence[int],
    *args: Any,
    **kwargs: Any,
) -> int:
    """Count each pair's scores again, because no map is kept, and the gradient at the keys."""
    pairs = zip(queries_s, queries_t, windows)
    return sum(2 * _scores(s, window) + _scores(t, window) for s, t, window in pairs)


def _scores(queries: Shape, window: int) -> int:
    B, H, T, d = queries
    return 2 * B * H * pairs_within(window, T) * d


FORMULAS = {"attention_map": attention_map, "attention_map_backward": attention_map_backward}
