"""Checks of arguments that operations share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def check_devices(operation: str, expected: torch.device, tensors: Mapping[str, Tensor | None]) -> None:
    """Raise ValueError unless all tensors are on the device `expected`; the message names the first that is not.

    A kernel gets only addresses. At the address of a tensor on another device, it would read other data.
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.device != expected:
            raise ValueError(f"{operation}: {name} is on {tensor.device}, expected {expected}")
