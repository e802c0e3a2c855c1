"""Attention-map loss on CUDA: one launch compares all pairs of a layout, and no map is written to memory.

A layout is the dtypes, shapes and strides of a pair's tensors, and its window; a launch takes at most 32 pairs. A
second, small launch writes the means. With a mask, a third launch counts the entries that the mask leaves; for a
window, torch counts them.

B sequences, H heads, Hk heads of keys, T tokens, d the width of a head, P pairs, e bytes an element.

Forward needs each row's softmax statistics before it can compare maps. So it computes tiles of scores twice (once if
all keys fit in one tile). The second time it computes the gradient at the queries too. Backward computes the tiles once
more, for the gradient at the keys. Each head costs 8 products of T·T·d in all (6 with one tile). If a head is held in
parts (see `settings`), scores are computed again for every 64 entries of a gradient. Padding at a sequence's end is
skipped, and so are tiles outside the window. Grouped keys are read where they are, once for each of the group's heads;
in backward, a program sums their gradient over the group.

Bytes moved with Hk = H, if the L2 cache serves repeated reads of tiles: forward moves 5·P·B·H·T·d·e, and 12·P·B·H·T of
statistics. The statistics are the only workspace. Backward moves as much again, and 2·P·B·H·T·d·e more if the upstream
gradient is not the `upstream` given to forward. The device compares the two, so the host need not wait.

The range of fp16 is too small for a gradient that is not yet multiplied by the loss scale. So the gradient at fp16
queries is kept in fp32 until backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bistil_kernels.attention_map.launching import buffers, launch_backward, launch_forward
from bistil_kernels.attention_map.layout import QueriesKeys, gradient_like
from bistil_kernels.runtime.dispatch import is_direct, once_differentiable
from bistil_kernels.runtime.scaling import scaled


def attention_map_loss(
    student_qk: Sequence[QueriesKeys],
    teacher_qk: Sequence[QueriesKeys],
    mask: Tensor | None,
    kind: str = "mse",
    mask_queries: bool = True,
    upstream: float = 1.0,
    windows: Sequence[int | None] | None = None,
) -> Tensor:
    """Compute `bistil_kernels.attention_map_loss` by Triton kernels.

    The arguments are checked already: fp32, bf16 or fp16 tensors on a CUDA device, or on a CPU under Triton's
    interpreter.
    """
    student, teacher = [_alike(*x) for x in student_qk], [_alike(*x) for x in teacher_qk]
    queries, keys = [q for q, _ in student], [k for _, k in student]
    targets = [q for q, _ in teacher], [k for _, k in teacher]
    with_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in queries + keys)
    lengths = [x.shape[2] for x in queries]  # for the operator, a window of T tokens means none
    spans = lengths if windows is None else [T if x is None else x for x, T in zip(windows, lengths)]
    how: Any = mask, spans, kind == "kl", mask_queries, float(upstream), with_gradient
    if not is_direct([*queries, *keys, *targets[0], *targets[1]]):
        detached = [[x.detach() for x in column] for column in targets]
        return torch.ops.bistil_kernels.attention_map(queries, keys, *detached, *how)[0]
    if with_gradient:
        return _Direct.apply(*targets, *how, *queries, *keys)
    return launch_forward(queries, keys, *targets, *how)[0]


def _alike(queries: Tensor, keys: Tensor) -> QueriesKeys:
    if queries.dtype == keys.dtype:
        return queries, keys
    dtype = torch.promote_types(queries.dtype, keys.dtype)
    return queries.to(dtype), keys.to(dtype)


_operator = torch.library.custom_op(
    "bistil_kernels::attention_map",
    launch_forward,
    mutates_args=(),
    schema="(Tensor[] queries_s, Tensor[] keys_s, Tensor[] queries_t, Tensor[] keys_t, Tensor? mask, SymInt[] windows,"
    " bool kl, bool mask_queries, float upstream, bool with_gradient)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor[], Tensor[])",
)


@_operator.register_fake
def _(queries_s, keys_s, queries_t, keys_t, mask, windows, kl, mask_queries, upstream, with_gradient):  # type: ignore[no-untyped-def]
    return buffers(queries_s, mask, with_gradient)


_operator_backward = torch.library.custom_op(
    "bistil_kernels::attention_map_backward",
    launch_backward,
    mutates_args=(),
    schema="(Tensor[] queries_s, Tensor[] keys_s, Tensor[] queries_t, Tensor[] keys_t, Tensor? mask, SymInt[] windows,"
    " Tensor stops, Tensor[] stats, Tensor factors, Tensor upstream, bool kl, bool mask_queries) -> Tensor[]",
)


@_operator_backward.register_fake
def _(queries_s, keys_s, *_):  # type: ignore[no-untyped-def]
    return [gradient_like(x, x.dtype) for x in keys_s]


def _kept(inputs: Sequence[Sequence[Tensor]], mask: Tensor | None, found: Sequence[Any]) -> list[Tensor | None]:
    """Return the tensors that backward needs, from the inputs and results of forward."""
    _, factors, prepared, stops, stats, gradients = found
    return [factors, prepared, stops, mask, *stats, *gradients, *(x for four in inputs for x in four)]


def _gradients(
    kept: Sequence[Any],
    windows: Sequence[int],
    kl: bool,
    mask_queries: bool,
    upstream: Tensor,
    key_gradients: Callable[..., Any],
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    factors, prepared, stops, mask, *lists = kept
    P = len(windows)
    stats, gradients, *inputs = (lists[i * P : (i + 1) * P] for i in range(6))
    dk = key_gradients(*inputs, mask, windows, stops, stats, factors, upstream, kl, mask_queries)
    return scaled(gradients, prepared, upstream, [x.dtype for x in inputs[0]]), dk


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    *pairs, mask, ctx.windows, ctx.kl, ctx.mask_queries, _, _ = inputs
    ctx.mark_non_differentiable(*output[1:4], *output[4], *output[5])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*_kept(pairs, mask, output))


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[object, ...]:
    P = len(ctx.windows)
    none: list[Tensor | None] = [None] * P
    dq: Sequence[Tensor | None] = none
    dk: Sequence[Tensor | None] = none
    if upstream is not None and len(ctx.saved_tensors) == 4 + 6 * P:
        operator = torch.ops.bistil_kernels.attention_map_backward
        dq, dk = _gradients(ctx.saved_tensors, ctx.windows, ctx.kl, ctx.mask_queries, upstream, operator)
    return dq, dk, none, none, *[None] * 6


_operator.register_autograd(_backward, setup_context=_setup_context)


class _Direct(torch.autograd.Function):
    """The operators' work as a plain autograd function, for calls that may skip the operators (`is_direct`)."""

    @staticmethod
    def forward(
        ctx: Any,
        queries_t: list[Tensor],
        keys_t: list[Tensor],
        mask: Tensor | None,
        windows: list[int],
        kl: bool,
        mask_queries: bool,
        upstream: float,
        with_gradient: bool,
        *queries_keys: Tensor,
    ) -> Tensor:
        P = len(windows)
        inputs = queries_keys[:P], queries_keys[P:], queries_t, keys_t
        found = launch_forward(*inputs, mask, windows, kl, mask_queries, upstream, with_gradient)
        ctx.windows, ctx.kl, ctx.mask_queries = windows, kl, mask_queries
        ctx.save_for_backward(*_kept(inputs, mask, found))
        return found[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        dq, dk = _gradients(ctx.saved_tensors, ctx.windows, ctx.kl, ctx.mask_queries, upstream, launch_backward)
        return *[None] * 8, *dq, *dk
