"""Launch configurations of the attention-map loss's kernels over tiles, by kind of input.

OWN tokens of a program against OTHER tokens at a time. PART 0: whole heads are held on chip; else PART entries at a
time, and gradients 64 entries wide. Chosen so that nothing spills, and for several programs at once on a processor.
"""

from __future__ import annotations

from torch import Tensor

# 16-bit heads up to 64 (without a mask; few tokens, or no gradient wanted; with a mask), up to 128, wider; fp32 heads,
# for which ptxas aims at fewer registers than it then needs, and spills, unless it is told a bound.
FORWARD = {
    "64": {"OWN": 128, "OTHER": 64, "PART": 0, "num_warps": 8, "num_stages": 2},
    "64 small": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 4, "num_stages": 2},
    "64 masked": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 3},
    "128": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 8, "num_stages": 2},
    "wide": {"OWN": 64, "OTHER": 64, "PART": 64, "num_warps": 8, "num_stages": 2},
    "fp32": {"OWN": 32, "OTHER": 16, "PART": 16, "num_warps": 4, "num_stages": 1, "maxnreg": 128},
}
BACKWARD = {
    "64": {"OWN": 128, "OTHER": 32, "PART": 0, "num_warps": 8, "num_stages": 2},
    "64 small": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 2},
    "64 masked": {"OWN": 64, "OTHER": 32, "PART": 0, "num_warps": 4, "num_stages": 2},
    "128": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 8, "num_stages": 1},
    "wide": {"OWN": 64, "OTHER": 64, "PART": 64, "num_warps": 8, "num_stages": 2},
    "fp32": {"OWN": 32, "OTHER": 16, "PART": 16, "num_warps": 4, "num_stages": 1, "maxnreg": 128},
}
SHORT = 64  # tokens at most


def input_kind(student: Tensor, teacher: Tensor, masked: bool, with_gradient: bool) -> str:
    """The row of the tables of launch configurations for a pair's queries [B, H, T, d]."""
    if 4 in (student.element_size(), teacher.element_size()):
        return "fp32"
    width = max(student.shape[-1], teacher.shape[-1])
    if width > 64:
        return "128" if width <= 128 else "wide"
    if masked:
        return "64 masked"
    return "64" if student.shape[2] > SHORT and with_gradient else "64 small"
