"""The attention-map loss as Triton kernels: all pairs in one launch, maps never in memory.

B sequences, H heads, T tokens, d the width of a head, P pairs, e bytes an element, M and N queries and keys of a tile.

Forward needs each row's softmax statistics before it can compare maps, so it forms tiles of scores twice (once where
all keys fit in a tile); backward forms them twice more, for dq and for dk: 10 products of T·T·d in all (8).
Bytes moved, with tiles' inputs read again from the L2 cache: forward 4·P·B·H·T·d·e, and statistics of 12·P·B·H·T;
backward 10·P·B·H·T·d·e, the inputs for dq and again for dk, and 24·P·B·H·T of statistics. Workspace: the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from bistil_kernels import triton_attention_tiles as tiles
from bistil_kernels.dispatch import is_direct
from bistil_kernels.triton_pairs import device_of, gathered, launches, layout, picked, scatter

QueriesKeys = tuple[Tensor, Tensor]
LOG2_E = 1.4426950408889634
FINISHING = {"BLOCK": 256, "ROWS": 16, "num_warps": 4}

# OWN tokens of a program against OTHER tokens at a time. PART 0: whole heads are held on chip; else PART entries at a
# time, and gradients 64 entries wide. By kind of input: 16-bit heads up to 64, up to 128, wider; fp32 heads, for which
# ptxas aims at fewer registers than it then needs, and spills, unless it is told a bound.
FORWARD = {
    "64": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 4, "num_stages": 2},
    "128": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 8, "num_stages": 2},
    "wide": {"OWN": 64, "OTHER": 64, "PART": 64, "num_warps": 8, "num_stages": 2},
    "fp32": {"OWN": 32, "OTHER": 32, "PART": 16, "num_warps": 4, "num_stages": 1, "maxnreg": 128},
}
BACKWARD = {
    "64": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 4, "num_stages": 2},
    "128": {"OWN": 64, "OTHER": 64, "PART": 0, "num_warps": 8, "num_stages": 1},
    "wide": {"OWN": 64, "OTHER": 64, "PART": 64, "num_warps": 8, "num_stages": 2},
    "fp32": {"OWN": 32, "OTHER": 16, "PART": 16, "num_warps": 4, "num_stages": 1, "maxnreg": 128},
}
KEYS_MASKED = 32  # OTHER at most in backward where keys are masked and queries are not: 64 spill registers on sm_80


def attention_map_loss(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: str = "mse",
    mask_queries: bool = True,
) -> Tensor:
    """`bistil_kernels.attention_map_loss` of fp32, bf16 or fp16 tensors, checked already, on a CUDA device (on a CPU
    only under Triton's interpreter)."""
    student, teacher = [_alike(*x) for x in student_qk], [_alike(*x) for x in teacher_qk]
    queries, keys = [q for q, _ in student], [k for _, k in student]
    with_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in queries + keys)
    targets = [q.detach() for q, _ in teacher], [k.detach() for _, k in teacher]
    kl = kind == "kl"
    if is_direct([*queries, *keys, *targets[0], *targets[1]]):
        if with_gradient:
            return _Direct.apply(*targets, mask, kl, mask_queries, *queries, *keys)
        return _forward(queries, keys, *targets, mask, kl, mask_queries, False)[0]
    return torch.ops.bistil_kernels.attention_map(queries, keys, *targets, mask, kl, mask_queries, with_gradient)[0]


def _alike(queries: Tensor, keys: Tensor) -> QueriesKeys:
    dtype = torch.promote_types(queries.dtype, keys.dtype)
    return queries.to(dtype), keys.to(dtype)


def input_kind(student: Tensor, teacher: Tensor) -> str:
    """The row of the tables of launch configurations for a pair's queries."""
    if 4 in (student.element_size(), teacher.element_size()):
        return "fp32"
    width = max(student.shape[-1], teacher.shape[-1])
    return "64" if width <= 64 else "128" if width <= 128 else "wide"


def backward_settings(kind: str, masked: bool, mask_queries: bool) -> dict[str, int]:
    """The launch configuration of both backward kernels."""
    settings = BACKWARD[kind]
    if masked and not mask_queries:
        return {**settings, "OTHER": min(settings["OTHER"], KEYS_MASKED)}
    return settings


def _width(d: int, part: int) -> int:
    """Entries of a head held together: a power of two, 16 at least."""
    return 64 if part else max(16, triton.next_power_of_2(d))


def _common(
    four: Sequence[Tensor], mask: Tensor | None, kl: bool, mask_queries: bool, settings: Mapping[str, int]
) -> tuple[list[Any], dict]:
    """What the kernels over tiles share of their arguments, for a launch of pairs like `four`."""
    q_s, _, q_t, _ = four
    B, H, T, d_s = q_s.shape
    d_t = q_t.shape[-1]
    strides = [n for x in four for n in x.stride()] + list((0, 0) if mask is None else mask.stride())
    part, full = settings["PART"], mask is None and T % settings["OWN"] == T % settings["OTHER"] == 0
    widths = {"d_s": d_s, "d_t": d_t, "WIDTH_S": _width(d_s, part), "WIDTH_T": _width(d_t, part)}
    scales = [LOG2_E * max(d, 1) ** -0.5 for d in (d_s, d_t)]
    return [B * H * T, T, H, *scales, *strides], {**widths, "KL": kl, "MASK_QUERIES": mask_queries, "FULL": full}


def _buffers(queries: Sequence[Tensor], with_gradient: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Values [P], factors [P], and statistics [3, B, H, T] for each pair (none if not wanted)."""
    values, factors = (torch.empty(len(queries), dtype=torch.float32, device=queries[0].device) for _ in range(2))
    kept = queries if with_gradient else ()
    return values, factors, [torch.empty(3, *x.shape[:3], dtype=torch.float32, device=x.device) for x in kept]


def _forward(
    queries_s: Sequence[Tensor],
    keys_s: Sequence[Tensor],
    queries_t: Sequence[Tensor],
    keys_t: Sequence[Tensor],
    mask: Tensor | None,
    kl: bool,
    mask_queries: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    values, factors, stats = _buffers(queries_s, with_gradient)
    inputs = (queries_s, keys_s, queries_t, keys_t)
    with device_of(values):
        for pairs in launches([layout(*four) for four in zip(*inputs)]):
            four = [x[pairs[0]] for x in inputs]
            B, H, T, _ = four[0].shape
            settings = FORWARD[input_kind(four[0], four[2])]
            programs = max(1, triton.cdiv(T, settings["OWN"])) * B * H
            partials = torch.empty(len(pairs), programs, dtype=torch.float32, device=values.device)
            arguments, constants = _common(four, mask, kl, mask_queries, settings)
            if four[0].numel():
                tiles.compare_maps[(programs, len(pairs))](
                    *(picked(x, pairs) for x in inputs),
                    picked(stats, pairs) if stats else None,
                    mask,
                    partials,
                    *arguments,
                    ONE_TILE=settings["OTHER"] >= T,
                    **constants,
                    **settings,
                )
            else:
                partials.zero_()
            v, f = gathered(values, pairs), gathered(factors, pairs)
            sizes = (programs, B, T, H, *((0, 0) if mask is None else mask.stride()))
            tiles.finish_maps[(len(pairs),)](
                partials, mask, v, f, *sizes, KL=kl, MASK_QUERIES=mask_queries, **FINISHING
            )
            scatter(v, values, pairs)
            scatter(f, factors, pairs)
    return values, factors, stats


_operator = torch.library.custom_op(
    "bistil_kernels::attention_map",
    _forward,
    mutates_args=(),
    schema="(Tensor[] queries_s, Tensor[] keys_s, Tensor[] queries_t, Tensor[] keys_t, Tensor? mask, bool kl,"
    " bool mask_queries, bool with_gradient) -> (Tensor, Tensor, Tensor[])",
)


@_operator.register_fake
def _(queries_s, keys_s, queries_t, keys_t, mask, kl, mask_queries, with_gradient):  # type: ignore[no-untyped-def]
    return _buffers(queries_s, with_gradient)


def _gradient_like(x_BHTd: Tensor) -> Tensor:
    """Laid out [B, T, H, d], as the projections before queries and keys want it."""
    B, H, T, d = x_BHTd.shape
    return torch.empty(B, T, H, d, dtype=x_BHTd.dtype, device=x_BHTd.device).transpose(1, 2)


def _gradients(
    queries_s: Sequence[Tensor],
    keys_s: Sequence[Tensor],
    queries_t: Sequence[Tensor],
    keys_t: Sequence[Tensor],
    mask: Tensor | None,
    stats: Sequence[Tensor],
    factors: Tensor,
    upstream: Tensor,
    kl: bool,
    mask_queries: bool,
) -> tuple[list[Tensor], list[Tensor]]:
    inputs = (queries_s, keys_s, queries_t, keys_t)
    dq, dk = [_gradient_like(x) for x in queries_s], [_gradient_like(x) for x in keys_s]
    with device_of(factors):
        for pairs in launches([layout(*four) for four in zip(*inputs)]):
            four = [x[pairs[0]] for x in inputs]
            B, H, T, _ = four[0].shape
            if not four[0].numel():
                continue
            settings = backward_settings(input_kind(four[0], four[2]), mask is not None, mask_queries)
            arguments, constants = _common(four, mask, kl, mask_queries, settings)
            up = gathered(upstream, pairs)
            parts = triton.cdiv(four[0].shape[-1], constants["WIDTH_S"])
            shape = (triton.cdiv(T, settings["OWN"]) * B * H, len(pairs), parts)
            for kernel, gradients in ((tiles.query_gradients, dq), (tiles.key_gradients, dk)):
                kernel[shape](
                    *(picked(x, pairs) for x in inputs),
                    picked(stats, pairs),
                    picked(gradients, pairs),
                    mask,
                    gathered(factors, pairs),
                    up,
                    up.stride(0),
                    *arguments,
                    **constants,
                    **settings,
                )
    return dq, dk


_operator_backward = torch.library.custom_op(
    "bistil_kernels::attention_map_backward",
    _gradients,
    mutates_args=(),
    schema="(Tensor[] queries_s, Tensor[] keys_s, Tensor[] queries_t, Tensor[] keys_t, Tensor? mask, Tensor[] stats,"
    " Tensor factors, Tensor upstream, bool kl, bool mask_queries) -> (Tensor[], Tensor[])",
)


@_operator_backward.register_fake
def _(queries_s, keys_s, *_):  # type: ignore[no-untyped-def]
    return [_gradient_like(x) for x in queries_s], [_gradient_like(x) for x in keys_s]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, list[Tensor]]) -> None:
    *pairs, mask, ctx.kl, ctx.mask_queries, _ = inputs
    _, factors, stats = output
    ctx.pairs, ctx.masked = len(pairs[0]), mask is not None
    ctx.mark_non_differentiable(factors, *stats)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(factors, *([mask] if ctx.masked else []), *stats, *(x for four in pairs for x in four))


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[object, ...]:
    factors, *saved = ctx.saved_tensors
    mask = saved.pop(0) if ctx.masked else None
    P = ctx.pairs
    none: list[Tensor | None] = [None] * P
    dq, dk = none, none
    if upstream is not None and len(saved) == 5 * P:
        stats, *inputs = (saved[i * P : (i + 1) * P] for i in range(5))
        operator: Callable[..., Any] = torch.ops.bistil_kernels.attention_map_backward
        dq, dk = operator(*inputs, mask, stats, factors, upstream, ctx.kl, ctx.mask_queries)
    return dq, dk, none, none, None, None, None, None


_operator.register_autograd(_backward, setup_context=_setup_context)


class _Direct(torch.autograd.Function):
    """What the operators do, for `is_direct` calls."""

    @staticmethod
    def forward(
        ctx: Any,
        queries_t: list[Tensor],
        keys_t: list[Tensor],
        mask: Tensor | None,
        kl: bool,
        mask_queries: bool,
        *queries_keys: Tensor,
    ) -> Tensor:
        P = len(queries_keys) // 2
        inputs = queries_keys[:P], queries_keys[P:], queries_t, keys_t
        values, factors, stats = _forward(*inputs, mask, kl, mask_queries, True)
        ctx.pairs, ctx.kl, ctx.mask_queries = P, kl, mask_queries
        ctx.save_for_backward(factors, mask, *stats, *(x for four in inputs for x in four))
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        factors, mask, *saved = ctx.saved_tensors
        P = ctx.pairs
        stats, q_s, k_s, q_t, k_t = (saved[i * P : (i + 1) * P] for i in range(5))
        dq, dk = _gradients(q_s, k_s, q_t, k_t, mask, stats, factors, upstream, ctx.kl, ctx.mask_queries)
        return *[None] * 5, *dq, *dk
