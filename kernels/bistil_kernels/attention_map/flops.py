"""Operations of the attention-map loss, as `bistil_kernels.flops` counts them.

B sequences, H heads, T tokens, d a head's width.
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
    """Scores of student and teacher, [B, H, T, T] each, for every pair, and the product that gives the queries'
    gradient where it is wanted.

    Scores formed a second time, tile by tile, are not counted: that is a matter of memory, not of the model.
    """
    return sum((1 + with_gradient) * _scores(s) + _scores(t) for s, t in zip(queries_s, queries_t))


def attention_map_backward(
    queries_s: Sequence[Shape], keys_s: Sequence[Shape], queries_t: Sequence[Shape], *args: Any, **kwargs: Any
) -> int:
    """Both scores again, as no map is kept, and the product that gives the keys' gradient."""
    return sum(2 * _scores(s) + _scores(t) for s, t in zip(queries_s, queries_t))


def _scores(queries: Shape) -> int:
    B, H, T, d = queries
    return 2 * B * H * T * T * d


FORMULAS = {"attention_map": attention_map, "attention_map_backward": attention_map_backward}
