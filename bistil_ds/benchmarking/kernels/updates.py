"""Describe benchmark cases of the sparse operations, beside plain PyTorch and torch's fused AdamW.

All weights together have n entries of e bytes. An operation trains, reads, writes or chooses K of these entries. In all
cases but `selecting`, which chooses them, the K entries are drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from bistil_kernels import SparseAdamW, SparseDelta, gather_at, swap_in, top_k_delta
from torch import Tensor

from bistil_ds.benchmarking.kernels.case import EAGER, FUSED_ADAMW, OURS, Aim, KernelCall, KernelCase

Shapes = Sequence[tuple[int, ...]]

_LAYER = [(768, 768), (768,)] * 4 + [(3072, 768), (3072,), (768, 3072), (768,), *[(768,)] * 4]
MBERT: Shapes = [(119_547, 768), (512, 768), (2, 768), (768,), (768,), *_LAYER * 12]
SMALL: Shapes = [(4_000, 768), *_LAYER]
SECTOR = 32  # bytes, the unit in which a GPU's memory is read and written


def touched(n: int, density: float, e: int) -> float:
    """Return the bytes of the sectors that a random mask of this density touches in `n` entries of `e` bytes."""
    return n * e * (1 - (1 - density) ** (SECTOR / e))


def adamw(shapes: Shapes, density: float, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Return the case of a `SparseAdamW` step that reads gradients of whole weights.

    For comparison, torch's fused AdamW trains all entries.
    """
    n, e = _entries(shapes), dtype.itemsize
    K = density * n

    def build() -> Mapping[str, KernelCall | str]:
        weights = [x.requires_grad_() for x in _draw(shapes, dtype, device)]
        gradients = list(_draw(shapes, dtype, device))
        deltas = [SparseDelta.of(w, _some(w, density)) for w in weights]
        plain = _PlainSparseAdamW(weights, [x.indices_K for x in deltas])
        ours, fused = SparseAdamW(deltas), torch.optim.AdamW(weights, fused=True)
        for weight, gradient in zip(weights, gradients):
            weight.grad = gradient

        def step() -> list[Tensor]:
            ours.step()
            return [x.delta_K.detach() for x in deltas]

        def dense() -> list[Tensor]:
            fused.step()
            return []

        return {OURS: KernelCall(step), EAGER: KernelCall(plain.step), FUSED_ADAMW: KernelCall(dense)}

    moved = 28 * K + e * K + 2 * touched(n, density, e) if device.type == "cuda" else None
    model = "28·K + e·K + touched sectors of weights and gradients" if moved else "not counted for the reference"
    aims = [Aim(FUSED_ADAMW, 3), Aim("copy_bandwidth", 0.7)] if density == 0.08 else []
    return KernelCase("SparseAdamW", _size(n, density), dtype, build, moved, model, aims=aims, compiles=False)


class _PlainSparseAdamW:
    """A `SparseAdamW` step in plain PyTorch: gather the gradients, run torch's foreach AdamW, write the weights."""

    def __init__(self, weights: Sequence[Tensor], indices: Sequence[Tensor]) -> None:
        self.weights, self.indices = [x.detach().clone().view(-1) for x in weights], [x.long() for x in indices]
        self.sources = weights
        self.starts = [w[i] for w, i in zip(self.weights, self.indices)]
        self.deltas = [torch.zeros(len(i), device=i.device, requires_grad=True) for i in self.indices]
        self.optimizer = torch.optim.AdamW(self.deltas, weight_decay=0.0, foreach=True)

    def step(self) -> list[Tensor]:
        for delta, source, index in zip(self.deltas, self.sources, self.indices):
            assert source.grad is not None
            delta.grad = source.grad.view(-1)[index].float()
        self.optimizer.step()
        for weight, index, start, delta in zip(self.weights, self.indices, self.starts, self.deltas):
            weight[index] = (start.float() + delta.detach()).to(weight.dtype)
        return [x.detach() for x in self.deltas]


def gathering(shapes: Shapes, density: float, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Return the case of `gather_at`, which reads K entries."""
    n, e = _entries(shapes), dtype.itemsize

    def build() -> Mapping[str, KernelCall | str]:
        tensors = list(_draw(shapes, dtype, device))
        indices = [_some(x, density) for x in tensors]
        eager = lambda: [x.view(-1)[i] for x, i in zip(tensors, indices)]  # noqa: E731
        return {OURS: KernelCall(lambda: gather_at(tensors, indices)), EAGER: KernelCall(eager)}

    moved = (4 + e) * density * n + touched(n, density, e)
    return KernelCase("gather_at", _size(n, density), dtype, build, moved, "4·K + e·K + touched sectors")


def swapping(shapes: Shapes, density: float, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Return the case of `swap_in`, which writes K new values and returns the old ones."""
    n, e = _entries(shapes), dtype.itemsize

    def build() -> Mapping[str, KernelCall | str]:
        tensors = list(_draw(shapes, dtype, device))
        indices = [_some(x, density) for x in tensors]
        news = [torch.randn(len(i), device=device).to(dtype) for i in indices]

        def eager() -> list[Tensor]:
            old = []
            for x, i, new in zip(tensors, indices, news):
                old.append(x.view(-1)[i])
                x.view(-1)[i] = new
            return old

        return {OURS: KernelCall(lambda: swap_in(tensors, indices, news)), EAGER: KernelCall(eager)}

    moved = (4 + 2 * e) * density * n + 2 * touched(n, density, e)
    model = "4·K + 2·e·K + twice the touched sectors"
    # not compared: ours runs first and writes to the tensors that eager then reads
    return KernelCase("swap_in", _size(n, density), dtype, build, moved, model, compared=False)


def selecting(shapes: Shapes, density: float, dtype: torch.dtype, device: torch.device) -> KernelCase:
    """Return the case of `top_k_delta`, which chooses the K entries that differ most in two versions of the weights."""
    n, e = _entries(shapes), dtype.itemsize
    k = int(density * n)

    def build() -> Mapping[str, KernelCall | str]:
        pairs = list(zip(_draw(shapes, dtype, device), _draw(shapes, dtype, device)))

        def eager() -> list[Tensor]:
            return [torch.cat([(a - b).abs().flatten() for a, b in pairs]).topk(k).indices]

        return {OURS: KernelCall(lambda: top_k_delta(pairs, k)), EAGER: KernelCall(eager)}

    readings = 6  # passes over both versions: four for histograms, one to count equal keys, one to collect the entries
    moved, model = readings * 2 * n * e + 4 * k, f"{readings} readings of both: {2 * readings}·n·e, and 4·K"
    # not compared: eager's indices count through all tensors, in the order of the differences, and ties are arbitrary
    return KernelCase("top_k_delta", _size(n, density), dtype, build, moved, model, compared=False)


def _draw(shapes: Shapes, dtype: torch.dtype, device: torch.device) -> Iterator[Tensor]:
    return (torch.randn(shape, device=device).to(dtype) for shape in shapes)


def _some(x: Tensor, density: float) -> Tensor:
    return (torch.rand(x.numel(), device=x.device) < density).nonzero().squeeze(1).int()


def _entries(shapes: Shapes) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes)


def _size(n: int, density: float) -> str:
    return f"{n / 1e6:.0f} M entries, density {density:.1%}"
