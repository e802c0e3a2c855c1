"""Freeze the teacher and put it on its device: it gets no gradients and is in no optimiser state or checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bistil_ds.distributed.inference import inference_engine

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def teacher_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype that `--teacher_dtype` names; `auto` is bfloat16 on GPUs that compute in it, else float32."""
    if name != "auto":
        return DTYPES[name]
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported(False) else torch.float32


def place_teacher(
    teacher: nn.Module, device: torch.device, dtype: torch.dtype, deepspeed_config: dict[str, Any] | None = None
) -> nn.Module:
    """Return the module to call: the frozen teacher on `device`, or at ZeRO-3 an inference engine that partitions it.

    Args:
        teacher: the model, which is put in eval mode and frozen in place.
        device, dtype: where and in what precision it runs.
        deepspeed_config: the student's DeepSpeed configuration. It matters at ZeRO-3 only, where the teacher's engine
            gets the same parameter offload, prefetch size and persistence threshold.
    """
    teacher.eval().requires_grad_(False)
    zero = (deepspeed_config or {}).get("zero_optimization", {})
    if zero.get("stage") != 3:
        return teacher.to(device=device, dtype=dtype)
    return inference_engine(teacher, zero, dtype)
