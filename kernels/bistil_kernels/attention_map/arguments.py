"""Make the arguments of the attention-map loss's kernels: constants, integers, scales, and tensors to fill.

B sequences, H heads, T tokens, d the width of a head, P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from bistil_kernels.attention_map.layout import gradient_like
from bistil_kernels.attention_map.windows import bounded
from bistil_kernels.runtime.precision import kept_dtype

LOG2_E = 1.4426950408889634


def _width(d: int, part: int) -> int:
    """Return how many entries of a head are held together: a power of two, at least 16."""
    return 64 if part else max(16, triton.next_power_of_2(d))


def tile_constants(
    four: Sequence[Tensor], bare: bool, kl: bool, mask_queries: bool, settings: Mapping[str, int]
) -> dict[str, Any]:
    """Return the constants of the kernels over tiles.

    Args:
        four: one pair's queries and keys, student's and teacher's.
        bare: there is neither a mask nor a window.
        kl, mask_queries: as for the loss.
        settings: the launch configuration.
    """
    q_s, k_s, q_t, k_t = four
    H, T, d_s, d_t = *q_s.shape[1:], q_t.shape[3]
    part, full = settings["PART"], bare and T % settings["OWN"] == T % settings["OTHER"] == 0
    widths = {"d_s": d_s, "d_t": d_t, "WIDTH_S": _width(d_s, part), "WIDTH_T": _width(d_t, part)}
    groups = {"GROUP_S": H // k_s.shape[1], "GROUP_T": H // k_t.shape[1]}
    return {**settings, **widths, **groups, "KL": kl, "MASK_QUERIES": mask_queries, "FULL": full}


def tile_numbers(
    four: Sequence[Tensor], heads: int, mask: Tensor | None, window: int | None
) -> tuple[tuple[int | None, ...], tuple[float, float]]:
    """Return the integers and both scales that the kernels over tiles take. `four` is as for `tile_constants`."""
    q_s, k_s, q_t, k_t = four
    B, H, T, d = q_s.shape
    strides = *q_s.stride(), *k_s.stride(), *q_t.stride(), *k_t.stride(), *((0, 0) if mask is None else mask.stride())
    scales = LOG2_E * max(d, 1) ** -0.5, LOG2_E * max(q_t.shape[-1], 1) ** -0.5
    return (B * H * T, T, heads, *strides, window), scales


def bounded_windows(queries: Sequence[Tensor], windows: Sequence[int]) -> list[int | None]:
    """Return the window of each pair, None where it hides no key."""
    return [bounded(window, x.shape[2]) for window, x in zip(windows, queries)]


def buffers(
    queries: Sequence[Tensor], mask: Tensor | None, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Return uninitialised tensors: values, factors, prepared upstreams, stops, statistics and gradients at queries.

    The first three are fp32 [P]. Stops are int32 [B], or [0] without a mask. Statistics (fp32 [3, B, H, T] for a pair)
    and gradients are lists over the pairs, which are empty without `with_gradient`.
    """
    device = queries[0].device
    values, factors, prepared = (torch.empty(len(queries), dtype=torch.float32, device=device) for _ in range(3))
    stops = torch.empty(0 if mask is None else len(mask), dtype=torch.int32, device=device)
    kept = queries if with_gradient else ()
    stats = [torch.empty(3, *x.shape[:3], dtype=torch.float32, device=device) for x in kept]
    return values, factors, prepared, stops, stats, [gradient_like(x, kept_dtype(x.dtype)) for x in kept]
