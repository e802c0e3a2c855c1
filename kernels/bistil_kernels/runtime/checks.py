"""Checks of arguments that operations share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def check_devices(operation: str, expected: torch.device, tensors: Mapping[str, Tensor | None]) -> None:
    """Raise ValueError, naming the first that is elsewhere, unless all tensors are on the device `expected`.

    A kernel reads addresses, so a tensor of another device would be read as something else.
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.device != expected:
            raise ValueError(f"{operation}: {name} is on {tensor.device}, expected {expected}")
