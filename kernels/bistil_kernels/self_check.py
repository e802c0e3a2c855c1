"""Try every family of kernels on one case, small or of a model's size, to find those that do not work on a device.

A loss passes by the tests' rule (`runtime.exactness`): value and gradients are no further from float64 than those of
the PyTorch reference in the same dtype, plus a small allowance. Sparse operations that compute nothing must give the
reference's bits. Drawing the cases leaves PyTorch's random state alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bistil_kernels.attention_map.reference import attention_map_loss
from bistil_kernels.hidden_state.reference import hidden_state_loss
from bistil_kernels.linear_logits.reference import linear_distillation_kl
from bistil_kernels.logits.reference import distillation_kl
from bistil_kernels.runtime.choice import has_triton, using
from bistil_kernels.runtime.exactness import ALLOWANCE, error
from bistil_kernels.runtime.precision import without_autocast
from bistil_kernels.sparse.adamw.reference import SparseAdamW
from bistil_kernels.sparse.entries.reference import gather_at, swap_in
from bistil_kernels.sparse.top_k.reference import top_k_delta
from bistil_kernels.sparse.types import BITS, SparseDelta

Draw = Callable[..., Tensor]  # takes a shape; returns normal random numbers on the device, in the dtype
Loss = Callable[[Sequence[Tensor]], Tensor]

LONGEST_REASON = 200  # characters
UPSTREAM = 0.75  # gradient of a loss; not 1, so that the gradients are scaled in backward
ADAMW = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.3}


@dataclass(frozen=True)
class Sizes:
    """Sizes of the cases: B sequences, T tokens, width D, H heads of width d, N rows, V entries of a vocabulary."""

    states: tuple[int, int, int] = (2, 24, 96)  # B, T, D
    maps: tuple[int, int, int, int] = (2, 72, 2, 64)  # B, T, H, d
    logits: tuple[int, int, int] = (24, 300, 64)  # N, V, D
    weights: tuple[tuple[int, ...], ...] = ((7, 5), (5000,))


SMALL = Sizes()
XLMR_BASE = Sizes((8, 256, 768), (8, 256, 12, 64), (307, 30_000, 768), ((768,), (768, 768), (3072, 768), (30_000, 768)))


def failing_families(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """Run each family's kernels once on a small case, and return family → reason for each one that fails.

    Give the families to `bistil_kernels.use("auto", switched_off=...)`, and references serve them.

    Args:
        device: a CUDA device; its kernels are compiled if they are not in Triton's cache yet.
        dtype: fp32, fp16 or bf16, the dtype of the tensors.

    Returns:
        An empty mapping if all families work. The reason is one line: the error that a kernel raised, or how far its
        result is off. If Triton is not installed, this is the reason for every family.
    """
    if not has_triton():
        return dict.fromkeys(CHECKS, "triton is not installed")
    found = {family: complaint_of(family, device, dtype) for family in CHECKS}
    return {family: complaint for family, complaint in found.items() if complaint is not None}


def complaint_of(family: str, device: torch.device, dtype: torch.dtype, sizes: Sizes = SMALL) -> str | None:
    """Run a family's kernels once, forward and backward; return in one line why they fail, or None if they work.

    Args:
        family: one of `runtime.choice.FAMILIES`.
        device, dtype: see `failing_families`.
        sizes: the sizes of the case.
    """
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device="cpu", dtype=torch.float32).to(device, dtype)

    with torch.enable_grad(), without_autocast(torch.device(device)):
        try:
            complaint = CHECKS[family](draw, sizes)
        except Exception as failure:  # compilers, drivers and launches raise errors of many types
            complaint = " ".join(f"{type(failure).__name__}: {failure}".split())
    return None if complaint is None else complaint[:LONGEST_REASON]


def _hidden_state(draw: Draw, sizes: Sizes) -> str | None:
    states = [draw(*sizes.states) for _ in range(4)]  # two pairs
    return _compare(lambda x: hidden_state_loss(x[:2], x[2:], _mask(states[0])), states, trained=2)


def _attention_map(draw: Draw, sizes: Sizes) -> str | None:
    tensors = [draw(*sizes.maps).transpose(1, 2) for _ in range(4)]  # laid out as a model's projections
    mask = _mask(tensors[0].transpose(1, 2))
    return _compare(lambda x: attention_map_loss([(x[0], x[1])], [(x[2], x[3])], mask), tensors, trained=2)


def _logits(draw: Draw, sizes: Sizes) -> str | None:
    N, V, _ = sizes.logits
    return _compare(lambda x: distillation_kl(x[0], x[1], 2.0), [draw(N, V), draw(N, V)], trained=1)


def _linear_logits(draw: Draw, sizes: Sizes) -> str | None:
    N, V, D = sizes.logits
    spread = 8 / D**0.5  # so that logits have the same spread at every width
    heads = [x for _ in range(2) for x in (draw(N, D), draw(V, D) * spread, draw(V))]

    def loss(x: Sequence[Tensor]) -> Tensor:
        return linear_distillation_kl(x[0], x[1], x[3], x[4], student_bias=x[2], teacher_bias=x[5], temperature=2.0)

    return _compare(loss, heads, trained=3)


def _mask(x_BTD: Tensor) -> Tensor:
    """Return a bool mask [B, T] in which the last sequence has padding."""
    mask = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
    mask[-1, x_BTD.shape[1] * 2 // 3 :] = False
    return mask


def _compare(loss: Loss, inputs: Sequence[Tensor], trained: int) -> str | None:
    """Return which result of the kernels is too far from float64, and how far; None if all are near enough."""
    dtype = inputs[0].dtype
    with using("torch"):
        value, *gradients = _value_and_gradients(loss, [x.double() for x in inputs], trained, 1.0)
        upstream = UPSTREAM * (_loss_scale(gradients) if dtype == torch.float16 else 1.0)
        exact = [value, *(x * upstream for x in gradients)]
        plain = _value_and_gradients(loss, inputs, trained, upstream)
    with using("triton"):
        found = _value_and_gradients(loss, inputs, trained, upstream)
    names = ["the value", *(f"gradient {n}" for n in range(1, trained + 1))]
    for name, ours, theirs, right in zip(names, found, plain, exact):
        if complaint := _too_far(name, error(ours, right), error(theirs, right), ALLOWANCE[dtype]):
            return complaint
    return None


def _loss_scale(gradients: Sequence[Tensor]) -> float:
    """Return the power of two that brings the largest gradient near 1: unscaled ones may be too small for fp16."""
    largest = max(float(x.abs().max()) for x in gradients)
    return 2.0 ** -round(math.log2(largest))


def _value_and_gradients(loss: Loss, inputs: Sequence[Tensor], trained: int, upstream: float) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_(i < trained) for i, x in enumerate(inputs)]
    value = loss(leaves)
    gradients = torch.autograd.grad(value.sum() * upstream, leaves[:trained])
    return [value.detach(), *gradients]


def _too_far(name: str, ours: float, theirs: float, allowance: float) -> str | None:
    if ours <= theirs + allowance:
        return None
    return (
        f"{name} is off by {ours:.2g} of the largest value; PyTorch by {theirs:.2g}, and {allowance:g} more is allowed"
    )


def _entries(draw: Draw, sizes: Sizes) -> str | None:
    weights = [draw(*shape) for shape in sizes.weights]
    indices = [_every(3, x) for x in weights]
    values = [draw(len(i)) for i in indices]

    def run() -> list[Tensor]:
        changed = [x.clone() for x in weights]
        return [*gather_at(weights, indices), *swap_in(changed, indices, values), *changed]

    return _same_bits("gather_at or swap_in", run)


def _top_k(draw: Draw, sizes: Sizes) -> str | None:
    pairs = [(draw(*shape), draw(*shape)) for shape in sizes.weights]
    k = sum(before.numel() for _, before in pairs) // 7
    return _same_bits("top_k_delta", lambda: top_k_delta(pairs, k))


def _same_bits(name: str, run: Callable[[], list[Tensor]]) -> str | None:
    with using("torch"):
        plain = run()
    with using("triton"):
        found = run()
    return None if all(map(_equal, found, plain)) else f"{name} gives other bits than PyTorch"


def _equal(x: Tensor, y: Tensor) -> bool:
    return (
        x.dtype == y.dtype and x.shape == y.shape and torch.equal(x.view(bits := BITS[x.element_size()]), y.view(bits))
    )


def _adamw(draw: Draw, sizes: Sizes) -> str | None:
    """Compare two steps, one with the weights' gradients and one with the deltas', with torch's AdamW in float64."""
    starts = [draw(*shape) for shape in sizes.weights]
    gradients = [[draw(*x.shape) for x in starts] for _ in range(2)]
    indices = [_every(3, x) for x in starts]
    picked = [[g.flatten()[i.long()].double() for g, i in zip(step, indices)] for step in gradients]
    exact = [torch.zeros_like(x).requires_grad_() for x in picked[0]]
    theirs = torch.optim.AdamW(exact, **ADAMW)  # type: ignore[arg-type]
    for step in picked:
        for parameter, gradient in zip(exact, step):
            parameter.grad = gradient
        theirs.step()

    def run(choice: str) -> list[SparseDelta]:
        deltas = [SparseDelta.of(x.clone(), i) for x, i in zip(starts, indices)]
        optimizer = SparseAdamW(deltas, **ADAMW)  # type: ignore[arg-type]
        with using(choice):
            for dense, of_deltas in zip(gradients, picked):
                is_first = dense is gradients[0]
                for delta, whole, part in zip(deltas, dense, of_deltas):
                    delta.weight.grad = whole if is_first else None
                    delta.delta_K.grad = None if is_first else part.float()
                optimizer.step()
        return deltas

    for ours, plain, right, start in zip(run("triton"), run("torch"), exact, starts):
        off, allowed = (error(x.delta_K.detach(), right.detach()) for x in (ours, plain))
        if complaint := _too_far("the update", off, allowed, ALLOWANCE[torch.float32]):  # deltas are always fp32
            return complaint
        written = start.flatten().index_copy(0, ours.indices_K.long(), ours.values()).view_as(start)
        if not _equal(ours.weight, written):
            return "the weight holds other bits than start + delta"
    return None


def _every(step: int, x: Tensor) -> Tensor:
    """Return the flat indices of every `step`-th entry, int32."""
    return torch.arange(0, x.numel(), step, dtype=torch.int32, device=x.device)


CHECKS: dict[str, Callable[[Draw, Sizes], str | None]] = {
    "hidden_state": _hidden_state,
    "attention_map": _attention_map,
    "logits": _logits,
    "linear_logits": _linear_logits,
    "sparse.entries": _entries,
    "sparse.top_k": _top_k,
    "sparse.adamw": _adamw,
}
