"""The hidden-state loss as Triton kernels: value and gradient of all pairs in one launch.

B sequences, T tokens, n = B·T, Ds and Dt the widths of student and teacher, P pairs, e bytes an element.

Bytes moved: forward reads the states (2·P·n·D·e; of real tokens only) and writes the gradient (P·n·D·e); backward reads
and writes it once more (2·P·n·D·e) unless the upstream gradient is one, which the device finds out for itself. A
projection's products add P·Dt·Ds elements for every 64 tokens, from the L2 cache where they fit.
fp16 cannot hold this gradient before it has met its loss scale: "mse" keeps half the difference instead, and
backward always multiplies; "cosine" keeps the gradient in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bistil_kernels.precision import kept_dtype
from bistil_kernels.triton_pairs import device_of, gathered, grid, launches, layout, picked, scatter
from bistil_kernels.triton_state_tiles import compare_states, finish, scale

PLAIN = {"ROWS": 4, "COLUMNS": 256, "INNER": 16, "num_warps": 4}
PROJECTED = {"ROWS": 64, "COLUMNS": 64, "INNER": 16, "num_warps": 8, "num_stages": 2}
SCALING = {"BLOCK": 4096, "num_warps": 8}
FINISHING = {"BLOCK": 1024, "num_warps": 4}


def hidden_state_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    projections: Sequence[Tensor] | None = None,
    kind: str = "mse",
) -> Tensor:
    """`bistil_kernels.hidden_state_loss` of fp32, bf16 or fp16 states, checked already, on a CUDA device (on a CPU only
    under Triton's interpreter)."""
    with_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in student)
    targets = [x.detach() for x in teacher]
    matrices = None if projections is None else [x.detach() for x in projections]
    return torch.ops.bistil_kernels.hidden_state(list(student), targets, mask, matrices, kind, with_gradient)[0]


def _buffers(student: Sequence[Tensor], kind: str, with_gradient: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Values [P], factors [P], and a contiguous gradient for each pair (none if not wanted)."""
    values, factors = (torch.empty(len(student), dtype=torch.float32, device=student[0].device) for _ in range(2))
    dtypes = [x.dtype if kind == "mse" else kept_dtype(x.dtype) for x in student] if with_gradient else []
    return values, factors, [torch.empty(x.shape, dtype=t, device=x.device) for x, t in zip(student, dtypes)]


@torch.library.custom_op(
    "bistil_kernels::hidden_state",
    mutates_args=(),
    schema="(Tensor[] student, Tensor[] teacher, Tensor? mask, Tensor[]? projections, str kind, bool with_gradient)"
    " -> (Tensor, Tensor, Tensor[])",
)
def _forward(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    projections: Sequence[Tensor] | None,
    kind: str,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    values, factors, gradients = _buffers(student, kind, with_gradient)
    real_tokens = None if mask is None else mask.sum()
    settings = PLAIN if projections is None else PROJECTED
    together = zip(student, teacher) if projections is None else zip(student, teacher, projections)
    with device_of(student[0]):
        for pairs in launches([layout(*x) for x in together]):
            s, t = student[pairs[0]], teacher[pairs[0]]
            B, T, D = s.shape
            shape = grid(B * T, settings["ROWS"], len(pairs))
            partials = torch.empty(len(pairs), shape[0], dtype=torch.float32, device=s.device)
            halved = kind == "mse" and s.dtype == torch.float16
            compare_states[shape](
                picked(student, pairs),
                picked(teacher, pairs),
                None if projections is None else picked(projections, pairs),
                picked(gradients, pairs) if gradients else None,
                mask,
                real_tokens,
                partials,
                B * T,
                T,
                D,
                t.shape[-1],
                *s.stride(),
                *t.stride(),
                *((0, 0) if projections is None else projections[pairs[0]].stride()),
                *((0, 0) if mask is None else mask.stride()),
                COSINE=kind == "cosine",
                HALVED=halved,
                **settings,
            )
            v, f = gathered(values, pairs), gathered(factors, pairs)
            width = D if kind == "mse" else 1
            finish[(len(pairs),)](partials, real_tokens, v, f, shape[0], B * T, width, HALVED=halved, **FINISHING)
            scatter(v, values, pairs)
            scatter(f, factors, pairs)
    return values, factors, gradients


@_forward.register_fake
def _(student, teacher, mask, projections, kind, with_gradient):  # type: ignore[no-untyped-def]
    return _buffers(student, kind, with_gradient)


def _scale_into(targets: Sequence[Tensor], sources: Sequence[Tensor], factors: Tensor, upstream: Tensor) -> None:
    with device_of(factors):
        for pairs in launches([layout(*x) for x in zip(sources, targets)]):
            elements = sources[pairs[0]].numel()
            up = gathered(upstream, pairs)
            scale[grid(elements, SCALING["BLOCK"], len(pairs))](
                picked(sources, pairs),
                picked(targets, pairs),
                gathered(factors, pairs),
                up,
                up.stride(0),
                elements,
                IN_PLACE=targets is sources,
                **SCALING,
            )


@torch.library.custom_op(
    "bistil_kernels::scale_gradients_",
    mutates_args=("gradients",),
    schema="(Tensor(a!)[] gradients, Tensor factors, Tensor upstream) -> ()",
)
def _scale_in_place(gradients: Sequence[Tensor], factors: Tensor, upstream: Tensor) -> None:
    _scale_into(gradients, gradients, factors, upstream)


def _scaled_buffers(gradients: Sequence[Tensor], to_fp16: Sequence[bool]) -> list[Tensor]:
    return [torch.empty_like(x, dtype=torch.float16 if half else x.dtype) for x, half in zip(gradients, to_fp16)]


@torch.library.custom_op(
    "bistil_kernels::scale_gradients",
    mutates_args=(),
    schema="(Tensor[] gradients, Tensor factors, Tensor upstream, bool[] to_fp16) -> Tensor[]",
)
def _scale(gradients: Sequence[Tensor], factors: Tensor, upstream: Tensor, to_fp16: Sequence[bool]) -> list[Tensor]:
    targets = _scaled_buffers(gradients, to_fp16)
    _scale_into(targets, gradients, factors, upstream)
    return targets


@_scale.register_fake
def _(gradients, factors, upstream, to_fp16):  # type: ignore[no-untyped-def]
    return _scaled_buffers(gradients, to_fp16)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, list[Tensor]]) -> None:
    student, _, _, projections, *_ = inputs
    _, factors, gradients = output
    ctx.to_fp16 = [x.dtype == torch.float16 for x in student]
    ctx.projected = projections is not None
    ctx.mark_non_differentiable(factors, *gradients)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(factors, *gradients)


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[object, ...]:
    factors, *gradients = ctx.saved_tensors
    none = [None] * len(ctx.to_fp16)
    found: Sequence[Tensor | None] = none
    if upstream is not None and gradients:
        as_kept = all(x.dtype == torch.float16 or not half for x, half in zip(gradients, ctx.to_fp16))
        if as_kept and _may_be_overwritten(gradients[0]):
            torch.ops.bistil_kernels.scale_gradients_(gradients, factors, upstream)
            found = gradients
        else:
            found = torch.ops.bistil_kernels.scale_gradients(gradients, factors, upstream, ctx.to_fp16)
    return found, none, None, none if ctx.projected else None, None, None


def _may_be_overwritten(saved: Tensor) -> bool:
    """Whether the running backward pass is the last through its graph, so that what was saved is of no more use."""
    if type(saved) is not Tensor:  # traced by a compiler, which wants functions without side effects
        return False
    is_kept = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return is_kept is not None and not is_kept()


_forward.register_autograd(_backward, setup_context=_setup_context)
