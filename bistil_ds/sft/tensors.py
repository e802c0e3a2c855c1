"""Check the tensors in the file of a sparse fine-tuning before anything is computed with them."""

from __future__ import annotations

import torch
from torch import Tensor

NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_plain(name: str, tensor: Tensor) -> None:
    """Raise ValueError, with the tensor's name, unless it is of `NUMBERS`, on the CPU, and holds each of its values.

    torch's files may hold sparse, nested and quantized tensors, some without values, and some that repeat one value
    until they fill any memory. For 8-bit numbers, torch lacks operations.
    """
    if tensor.layout != torch.strided or tensor.is_nested or tensor.dtype not in NUMBERS:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"{name} has {kind} values; expected dense fp16, bf16, fp32 or fp64")
    if tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} has fewer values than its shape needs")
