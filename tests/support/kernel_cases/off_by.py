"""Spoil the result of a kernel, for tests that such a result is found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Scaled(torch.autograd.Function):
    """Multiply a value by one factor, and its gradient by another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, of_value: float, of_gradient: float) -> Tensor:
        ctx.factor = of_gradient
        return x * of_value

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return upstream[0] * ctx.factor, None, None
