"""Launches of the attention-map loss's kernels, forward and backward, and the memory that they write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from bistil_kernels.attention_map import tiles
from bistil_kernels.attention_map.layout import gradient_like
from bistil_kernels.attention_map.means import count_maps, finish_maps
from bistil_kernels.attention_map.settings import backward_settings, forward_settings, input_kind
from bistil_kernels.attention_map.windows import bounded, counted_within, pairs_within
from bistil_kernels.runtime.pairs import device_of, gathered, launches, layouts, picked, scatter
from bistil_kernels.runtime.precision import kept_dtype

LOG2_E = 1.4426950408889634
COUNTING = {"BLOCK": 256, "ROWS": 16, "num_warps": 4}
FINISHING = {"BLOCK": 256, "num_warps": 4}


def _width(d: int, part: int) -> int:
    """Return how many entries of a head are held together: a power of two, at least 16."""
    return 64 if part else max(16, triton.next_power_of_2(d))


def _constants(
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


def _numbers(
    four: Sequence[Tensor], heads: int, mask: Tensor | None, window: int | None
) -> tuple[tuple[int | None, ...], tuple[float, float]]:
    """Return the integers and both scales that the kernels over tiles take. `four` is as for `_constants`."""
    q_s, k_s, q_t, k_t = four
    B, H, T, d = q_s.shape
    strides = *q_s.stride(), *k_s.stride(), *q_t.stride(), *k_t.stride(), *((0, 0) if mask is None else mask.stride())
    scales = LOG2_E * max(d, 1) ** -0.5, LOG2_E * max(q_t.shape[-1], 1) ** -0.5
    return (B * H * T, T, heads, *strides, window), scales


def _bounded(queries: Sequence[Tensor], windows: Sequence[int]) -> list[int | None]:
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


def launch_forward(
    queries_s: Sequence[Tensor],
    keys_s: Sequence[Tensor],
    queries_t: Sequence[Tensor],
    keys_t: Sequence[Tensor],
    mask: Tensor | None,
    windows: Sequence[int],
    kl: bool,
    mask_queries: bool,
    upstream: float,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    found = values, factors, prepared, stops, stats, gradients = buffers(queries_s, mask, with_gradient)
    inputs, spans = (queries_s, keys_s, queries_t, keys_t), _bounded(queries_s, windows)
    counts: dict[int | None, Tensor] = {}  # window → number of counted entries of a head, if there is a mask
    with device_of(values):
        if mask is not None:
            counts[None] = torch.empty(1, dtype=torch.float32, device=values.device)
            sizes = *mask.shape, *mask.stride()
            count_maps[(1,)](mask, stops, counts[None], *sizes, KL=kl, MASK_QUERIES=mask_queries, **COUNTING)
            for span in {span for span in spans if span is not None}:
                counts[span] = counted_within(span, mask, kl, mask_queries).float().view(1)
        for pairs in launches(list(zip(layouts(*inputs), spans))):
            four, window = [x[pairs[0]] for x in inputs], spans[pairs[0]]
            counted = counts.get(window)
            B, H, T, d = four[0].shape
            settings = forward_settings(input_kind(four[0], four[2], mask is not None, with_gradient))
            constants = _constants(four, mask is None and window is None, kl, mask_queries, settings)
            programs = max(1, -(-T // settings["OWN"])) * B * H
            partials = torch.empty(len(pairs), programs, dtype=torch.float32, device=values.device)
            all_of_a_head = float(B * T if kl else B * pairs_within(window, T))
            if four[0].numel():
                parts = -(-d // constants["WIDTH_S"]) if with_gradient else 1
                integers, scales = _numbers(four, H, mask, window)
                tiles.compare_maps[(programs, len(pairs), parts)](
                    *(picked(x, pairs) for x in inputs),
                    picked(stats, pairs) if stats else None,
                    picked(gradients, pairs) if gradients else None,
                    mask,
                    None if mask is None else stops,
                    counted,
                    partials,
                    *integers,
                    *scales,
                    all_of_a_head,
                    upstream,
                    ONE_TILE=settings["OTHER"] >= T and not settings["PART"],
                    **constants,
                )
            else:
                partials.zero_()
            results = values, factors, prepared
            own = [gathered(x, pairs) for x in results]
            finish_maps[(len(pairs),)](
                partials, counted, *own, programs, H, all_of_a_head, upstream, KL=kl, **FINISHING
            )
            for x, into in zip(own, results):
                scatter(x, into, pairs)
    return found


def launch_backward(
    queries_s: Sequence[Tensor],
    keys_s: Sequence[Tensor],
    queries_t: Sequence[Tensor],
    keys_t: Sequence[Tensor],
    mask: Tensor | None,
    windows: Sequence[int],
    stops: Tensor,
    stats: Sequence[Tensor],
    factors: Tensor,
    upstream: Tensor,
    kl: bool,
    mask_queries: bool,
) -> list[Tensor]:
    inputs, spans = (queries_s, keys_s, queries_t, keys_t), _bounded(queries_s, windows)
    gradients = [gradient_like(x, x.dtype) for x in keys_s]
    with device_of(factors):
        for pairs in launches(list(zip(layouts(*inputs), spans))):
            four, window = [x[pairs[0]] for x in inputs], spans[pairs[0]]
            (B, _, T, d), heads = four[0].shape, four[1].shape[1]
            if not four[0].numel():
                continue
            settings = backward_settings(input_kind(four[0], four[2], mask is not None, True))
            constants = _constants(four, mask is None and window is None, kl, mask_queries, settings)
            up = gathered(upstream, pairs)
            integers, scales = _numbers(four, heads, mask, window)
            tiles.key_gradients[(-(-T // settings["OWN"]) * B * heads, len(pairs), -(-d // constants["WIDTH_S"]))](
                *(picked(x, pairs) for x in inputs),
                picked(stats, pairs),
                picked(gradients, pairs),
                mask,
                None if mask is None else stops,
                gathered(factors, pairs),
                up,
                up.stride(0),
                *integers,
                *scales,
                **constants,
            )
    return gradients
