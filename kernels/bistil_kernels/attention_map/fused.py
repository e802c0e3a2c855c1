"""Attention-map loss on CUDA: one launch compares all pairs of a layout, and no map is written to memory.

A layout is the dtypes, shapes and strides of a pair's tensors; a launch takes at most 32 pairs. A second, small launch
writes the means. With a mask, a third launch counts the entries that the mask leaves.

B sequences, H heads, T tokens, d the width of a head, P pairs, e bytes an element.

Forward needs each row's softmax statistics before it can compare maps. So it computes tiles of scores twice (once if
all keys fit in one tile). The second time it computes the gradient at the queries too. Backward computes the tiles once
more, for the gradient at the keys. Each head costs 8 products of T·T·d in all (6 with one tile). If a head is held in
parts (see `settings`), scores are computed again for every 64 entries of a gradient. Padding at a sequence's end is
skipped.

Bytes moved, if the L2 cache serves repeated reads of tiles: forward moves 5·P·B·H·T·d·e, and 12·P·B·H·T of statistics.
The statistics are the only workspace. Backward moves as much again, and 2·P·B·H·T·d·e more if the upstream gradient is
not the `upstream` given to forward. The device compares the two, so the host need not wait.

The range of fp16 is too small for a gradient that is not yet multiplied by the loss scale. So the gradient at fp16
queries is kept in fp32 until backward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from bistil_kernels.attention_map import tiles
from bistil_kernels.attention_map.means import count_maps, finish_maps
from bistil_kernels.attention_map.settings import BACKWARD, FORWARD, input_kind
from bistil_kernels.runtime.dispatch import is_direct, once_differentiable
from bistil_kernels.runtime.pairs import device_of, gathered, launches, layouts, picked, scatter
from bistil_kernels.runtime.precision import kept_dtype
from bistil_kernels.runtime.scaling import scaled

QueriesKeys = tuple[Tensor, Tensor]
LOG2_E = 1.4426950408889634
COUNTING = {"BLOCK": 256, "ROWS": 16, "num_warps": 4}
FINISHING = {"BLOCK": 256, "num_warps": 4}


def attention_map_loss(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: str = "mse",
    mask_queries: bool = True,
    upstream: float = 1.0,
) -> Tensor:
    """Compute `bistil_kernels.attention_map_loss` by Triton kernels.

    The arguments are checked already: fp32, bf16 or fp16 tensors on a CUDA device, or on a CPU under Triton's
    interpreter.
    """
    student, teacher = [_alike(*x) for x in student_qk], [_alike(*x) for x in teacher_qk]
    queries, keys = [q for q, _ in student], [k for _, k in student]
    targets = [q for q, _ in teacher], [k for _, k in teacher]
    with_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in queries + keys)
    how: Any = mask, kind == "kl", mask_queries, float(upstream), with_gradient
    if not is_direct([*queries, *keys, *targets[0], *targets[1]]):
        detached = [[x.detach() for x in column] for column in targets]
        return torch.ops.bistil_kernels.attention_map(queries, keys, *detached, *how)[0]
    if with_gradient:
        return _Direct.apply(*targets, *how, *queries, *keys)
    return _forward(queries, keys, *targets, *how)[0]


def _alike(queries: Tensor, keys: Tensor) -> QueriesKeys:
    if queries.dtype == keys.dtype:
        return queries, keys
    dtype = torch.promote_types(queries.dtype, keys.dtype)
    return queries.to(dtype), keys.to(dtype)


def _width(d: int, part: int) -> int:
    """Return how many entries of a head are held together: a power of two, at least 16."""
    return 64 if part else max(16, triton.next_power_of_2(d))


def _constants(four: Sequence[Tensor], masked: bool, kl: bool, mask_queries: bool, settings: Mapping[str, int]) -> dict:
    """Return the constants of the kernels over tiles. `four`: one pair's queries and keys, student's and teacher's."""
    T, d_s, d_t = four[0].shape[2], four[0].shape[3], four[2].shape[3]
    part, full = settings["PART"], not masked and T % settings["OWN"] == T % settings["OTHER"] == 0
    widths = {"d_s": d_s, "d_t": d_t, "WIDTH_S": _width(d_s, part), "WIDTH_T": _width(d_t, part)}
    return {**settings, **widths, "KL": kl, "MASK_QUERIES": mask_queries, "FULL": full}


def _numbers(four: Sequence[Tensor], mask: Tensor | None) -> tuple[tuple[int, ...], tuple[float, float]]:
    """Return the integers and both scales that the kernels over tiles take. `four` is as for `_constants`."""
    q_s, k_s, q_t, k_t = four
    B, H, T, d = q_s.shape
    strides = *q_s.stride(), *k_s.stride(), *q_t.stride(), *k_t.stride(), *((0, 0) if mask is None else mask.stride())
    return (B * H * T, T, H, *strides), (LOG2_E * max(d, 1) ** -0.5, LOG2_E * max(q_t.shape[-1], 1) ** -0.5)


def _buffers(
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
    return values, factors, prepared, stops, stats, [_gradient_like(x, kept_dtype(x.dtype)) for x in kept]


def _gradient_like(x_BHTd: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised [B, H, T, d] that lies in memory as [B, T, H, d], which suits linear layers' backward."""
    B, H, T, d = x_BHTd.shape
    return torch.empty(B, T, H, d, dtype=dtype, device=x_BHTd.device).transpose(1, 2)


def _forward(
    queries_s: Sequence[Tensor],
    keys_s: Sequence[Tensor],
    queries_t: Sequence[Tensor],
    keys_t: Sequence[Tensor],
    mask: Tensor | None,
    kl: bool,
    mask_queries: bool,
    upstream: float,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    found = values, factors, prepared, stops, stats, gradients = _buffers(queries_s, mask, with_gradient)
    inputs, counted = (queries_s, keys_s, queries_t, keys_t), None
    with device_of(values):
        if mask is not None:
            counted = torch.empty(1, dtype=torch.float32, device=values.device)
            sizes = *mask.shape, *mask.stride()
            count_maps[(1,)](mask, stops, counted, *sizes, KL=kl, MASK_QUERIES=mask_queries, **COUNTING)
        for pairs in launches(layouts(*inputs)):
            four = [x[pairs[0]] for x in inputs]
            B, H, T, d = four[0].shape
            settings = FORWARD[input_kind(four[0], four[2], mask is not None, with_gradient)]
            constants = _constants(four, mask is not None, kl, mask_queries, settings)
            programs = max(1, -(-T // settings["OWN"])) * B * H
            partials = torch.empty(len(pairs), programs, dtype=torch.float32, device=values.device)
            all_of_a_head = float(B * T if kl else B * T * T)
            if four[0].numel():
                parts = -(-d // constants["WIDTH_S"]) if with_gradient else 1
                integers, scales = _numbers(four, mask)
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


_operator = torch.library.custom_op(
    "bistil_kernels::attention_map",
    _forward,
    mutates_args=(),
    schema="(Tensor[] queries_s, Tensor[] keys_s, Tensor[] queries_t, Tensor[] keys_t, Tensor? mask, bool kl,"
    " bool mask_queries, float upstream, bool with_gradient) -> (Tensor, Tensor, Tensor, Tensor, Tensor[], Tensor[])",
)


@_operator.register_fake
def _(queries_s, keys_s, queries_t, keys_t, mask, kl, mask_queries, upstream, with_gradient):  # type: ignore[no-untyped-def]
    return _buffers(queries_s, mask, with_gradient)


def _key_gradients(
    queries_s: Sequence[Tensor],
    keys_s: Sequence[Tensor],
    queries_t: Sequence[Tensor],
    keys_t: Sequence[Tensor],
    mask: Tensor | None,
    stops: Tensor,
    stats: Sequence[Tensor],
    factors: Tensor,
    upstream: Tensor,
    kl: bool,
    mask_queries: bool,
) -> list[Tensor]:
    inputs = (queries_s, keys_s, queries_t, keys_t)
    gradients = [_gradient_like(x, x.dtype) for x in keys_s]
    with device_of(factors):
        for pairs in launches(layouts(*inputs)):
            four = [x[pairs[0]] for x in inputs]
            B, H, T, d = four[0].shape
            if not four[0].numel():
                continue
            settings = BACKWARD[input_kind(four[0], four[2], mask is not None, True)]
            constants = _constants(four, mask is not None, kl, mask_queries, settings)
            up = gathered(upstream, pairs)
            integers, scales = _numbers(four, mask)
            tiles.key_gradients[(-(-T // settings["OWN"]) * B * H, len(pairs), -(-d // constants["WIDTH_S"]))](
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


_operator_backward = torch.library.custom_op(
    "bistil_kernels::attention_map_backward",
    _key_gradients,
    mutates_args=(),
    schema="(Tensor[] queries_s, Tensor[] keys_s, Tensor[] queries_t, Tensor[] keys_t, Tensor? mask, Tensor stops,"
    " Tensor[] stats, Tensor factors, Tensor upstream, bool kl, bool mask_queries) -> Tensor[]",
)


@_operator_backward.register_fake
def _(queries_s, keys_s, *_):  # type: ignore[no-untyped-def]
    return [_gradient_like(x, x.dtype) for x in keys_s]


def _kept(inputs: Sequence[Sequence[Tensor]], mask: Tensor | None, found: Sequence[Any]) -> list[Tensor | None]:
    """Return the tensors that backward needs, from the inputs and results of forward."""
    _, factors, prepared, stops, stats, gradients = found
    return [factors, prepared, stops, mask, *stats, *gradients, *(x for four in inputs for x in four)]


def _gradients(
    kept: Sequence[Any], pairs: int, kl: bool, mask_queries: bool, upstream: Tensor, key_gradients: Callable[..., Any]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    factors, prepared, stops, mask, *lists = kept
    stats, gradients, *inputs = (lists[i * pairs : (i + 1) * pairs] for i in range(6))
    dk = key_gradients(*inputs, mask, stops, stats, factors, upstream, kl, mask_queries)
    return scaled(gradients, prepared, upstream, [x.dtype for x in inputs[0]]), dk


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    *pairs, mask, ctx.kl, ctx.mask_queries, _, _ = inputs
    ctx.pairs = len(pairs[0])
    ctx.mark_non_differentiable(*output[1:4], *output[4], *output[5])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*_kept(pairs, mask, output))


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[object, ...]:
    none: list[Tensor | None] = [None] * ctx.pairs
    dq: Sequence[Tensor | None] = none
    dk: Sequence[Tensor | None] = none
    if upstream is not None and len(ctx.saved_tensors) == 4 + 6 * ctx.pairs:
        operator = torch.ops.bistil_kernels.attention_map_backward
        dq, dk = _gradients(ctx.saved_tensors, ctx.pairs, ctx.kl, ctx.mask_queries, upstream, operator)
    return dq, dk, none, none, *[None] * 5


_operator.register_autograd(_backward, setup_context=_setup_context)


class _Direct(torch.autograd.Function):
    """The operators' work as a plain autograd function, for calls that may skip the operators (`is_direct`)."""

    @staticmethod
    def forward(
        ctx: Any,
        queries_t: list[Tensor],
        keys_t: list[Tensor],
        mask: Tensor | None,
        kl: bool,
        mask_queries: bool,
        upstream: float,
        with_gradient: bool,
        *queries_keys: Tensor,
    ) -> Tensor:
        P = len(queries_keys) // 2
        inputs = queries_keys[:P], queries_keys[P:], queries_t, keys_t
        found = _forward(*inputs, mask, kl, mask_queries, upstream, with_gradient)
        ctx.pairs, ctx.kl, ctx.mask_queries = P, kl, mask_queries
        ctx.save_for_backward(*_kept(inputs, mask, found))
        return found[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        dq, dk = _gradients(ctx.saved_tensors, ctx.pairs, ctx.kl, ctx.mask_queries, upstream, _key_gradients)
        return *[None] * 7, *dq, *dk
