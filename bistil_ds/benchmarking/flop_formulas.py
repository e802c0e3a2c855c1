"""Operations of our own kernels for `torch.utils.flop_counter`, counted as it counts: matrix products only.

A multiply and an add are two operations. B sequences, H heads, T tokens, d a head's width; N positions, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


def flop_counter() -> FlopCounterMode:
    """A counter that knows our kernels; nothing is registered beyond it."""
    return FlopCounterMode(display=False, custom_mapping=formulas())


def formulas() -> dict[Any, Callable[..., int]]:
    """A formula for each operator of `bistil_kernels`; empty where there is no Triton, and so none of them."""
    if find_spec("triton") is None:
        return {}
    import bistil_kernels.attention_map.fused
    import bistil_kernels.hidden_state.fused
    import bistil_kernels.linear_logits.fused
    import bistil_kernels.logits.fused
    import bistil_kernels.runtime.scaling
    import bistil_kernels.sparse.adamw.fused
    import bistil_kernels.sparse.entries.fused  # noqa: F401  they define the operators

    ours = torch.ops.bistil_kernels
    known: dict[Any, Callable[..., int]] = {
        ours.attention_map: attention_map,
        ours.attention_map_backward: attention_map_backward,
        ours.hidden_state: hidden_state,
        ours.linear_distillation_kl: linear_distillation_kl,
    }
    for name in NO_PRODUCTS:
        known[getattr(ours, name)] = no_products
    return known


NO_PRODUCTS = (
    "distillation_kl",
    "distillation_kl_gradient",
    "scale_gradients",
    "scale_gradients_",
    "gather_at",
    "swap_in",
    "write_deltas",
)


def no_products(*args: Any, **kwargs: Any) -> int:
    """Work on single entries only."""
    return 0


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


def hidden_state(
    student: Sequence[Shape],
    teacher: Sequence[Shape],
    mask: Shape | None,
    projections: Sequence[Shape] | None,
    *args: Any,
    **kwargs: Any,
) -> int:
    """The teacher's projection to the student's width, where there is one."""
    if projections is None:
        return 0
    return sum(2 * s[0] * s[1] * p[0] * p[1] for s, p in zip(student, projections))


def linear_distillation_kl(
    hidden: Shape,
    weight: Shape,
    bias: Shape | None,
    teacher_hidden: Shape,
    teacher_weight: Shape,
    teacher_bias: Shape | None,
    temperature: float,
    labels: Shape | None,
    alpha_ce: float,
    ignore_index: int,
    wanted: Sequence[bool],
    **kwargs: Any,
) -> int:
    """Both logits, and the gradients of hidden states and weight where wanted; all positions as if they counted.

    Logits computed a second time, chunk by chunk, are not counted: that is a matter of memory, not of the model.
    """
    positions, width = hidden
    product = 2 * positions * width * weight[0]
    return product * (1 + bool(wanted[0]) + bool(wanted[1])) + 2 * positions * teacher_hidden[1] * teacher_weight[0]


def _scores(queries: Shape) -> int:
    B, H, T, d = queries
    return 2 * B * H * T * T * d
