"""Launch configurations of the attention-map loss's kernels over tiles, by kind of input.

A program serves OWN tokens and compares them with OTHER tokens at a time. If PART is 0, it holds whole heads on chip.
Otherwise it holds PART entries of a head at a time, and 64 entries of a gradient. The numbers are chosen so that no
registers spill and an SM runs several programs at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bistil_kernels.runtime.vendor import is_amd, launchable

Table = Mapping[str, Mapping[str, int]]

# Kinds of input: 16-bit heads up to 64 wide are "64 masked" with a mask, or "64 masked fp16" if one of the models is in
# fp16, whose values spill to memory on sm_80 with fewer warps. Without a mask they are "64 small" if there are few
# tokens or no gradient, else "64". Wider 16-bit heads are "128" up to a width of 128, then "wide". Pairs with an fp32
# model are "fp32". This kind needs `maxnreg`: without it NVIDIA's assembler (ptxas) allots too few registers, and
# values spill. `launchable` leaves it out on AMD's GPUs, for which Triton refuses it.
FORWARD = {
    "64": {"OWN": 128, "OTHER": 64, "PART": 0, "num_warps": 8, "num_stages": 2},
    "64 small": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 4, "num_stages": 2},
    "64 masked": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 3},
    "64 masked fp16": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 8, "num_stages": 3},
    "128": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 8, "num_stages": 2},
    "wide": {"OWN": 64, "OTHER": 64, "PART": 64, "num_warps": 8, "num_stages": 2},
    "fp32": {"OWN": 32, "OTHER": 16, "PART": 16, "num_warps": 4, "num_stages": 1, "maxnreg": 128},
}
BACKWARD = {
    "64": {"OWN": 128, "OTHER": 32, "PART": 0, "num_warps": 8, "num_stages": 2},
    "64 small": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 2},
    "64 masked": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 2},
    "64 masked fp16": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 2},
    "128": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 8, "num_stages": 1},
    "wide": {"OWN": 64, "OTHER": 64, "PART": 64, "num_warps": 8, "num_stages": 2},
    "fp32": {"OWN": 32, "OTHER": 16, "PART": 16, "num_warps": 4, "num_stages": 1, "maxnreg": 128},
}
# What differs on AMD's GPUs. There, a program of 8 warps leaves each thread 256 registers; heads 128 wide would spill.
AMDS_FORWARD = {"128": {"num_warps": 4}}
AMDS_BACKWARD = {"128": {"OTHER": 32}}
SHORT = 64  # most tokens of a sequence that counts as short


def input_kind(student: Tensor, teacher: Tensor, masked: bool, with_gradient: bool) -> str:
    """Return the kind of input, a key of `FORWARD` and `BACKWARD`, for a pair's queries [B, H, T, d]."""
    if 4 in (student.element_size(), teacher.element_size()):
        return "fp32"
    width = max(student.shape[-1], teacher.shape[-1])
    if width > 64:
        return "128" if width <= 128 else "wide"
    if masked:
        return "64 masked fp16" if torch.float16 in (student.dtype, teacher.dtype) else "64 masked"
    return "64" if student.shape[2] > SHORT and with_gradient else "64 small"


def forward_settings(kind: str, amd: bool | None = None) -> dict[str, int]:
    """Return the launch configuration of the forward pass; without `amd`, for the GPUs that torch was built for."""
    return _settings(FORWARD, AMDS_FORWARD, kind, amd)


def backward_settings(kind: str, amd: bool | None = None) -> dict[str, int]:
    """Return the launch configuration of the backward pass; without `amd`, for the GPUs that torch was built for."""
    return _settings(BACKWARD, AMDS_BACKWARD, kind, amd)


def _settings(table: Table, of_amds: Table, kind: str, amd: bool | None) -> dict[str, int]:
    amd = is_amd() if amd is None else amd
    return launchable({**table[kind], **(of_amds.get(kind, {}) if amd else {})}, amd)
