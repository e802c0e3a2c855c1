"""FLOP formula of the KL of two linear heads, in the convention of `bistil_kernels.flops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bistil_kernels.runtime.flops import Shape


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
    """Count the products that give both heads' logits and the wanted gradients of hidden states and weight.

    All positions are counted, with a label or not. The logits are computed a second time to save memory; that is not
    work of the model, so it is not counted.
    """
    positions, width = hidden
    product = 2 * positions * width * weight[0]
    return product * (1 + bool(wanted[0]) + bool(wanted[1])) + 2 * positions * teacher_hidden[1] * teacher_weight[0]


FORMULAS = {"linear_distillation_kl": linear_distillation_kl}
