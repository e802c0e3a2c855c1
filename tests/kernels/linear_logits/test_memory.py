"""Test the memory of `linear_distillation_kl` against eager PyTorch's at XLM-R's sizes, on the meta device."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from bistil_kernels.linear_logits import chunks, fused
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

H200 = 132  # number of multiprocessors
HALF = torch.bfloat16


class Peak(TorchDispatchMode):
    """Record the most bytes that were alive at once, in tensors that operations inside the context made."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        old = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in tree_leaves(out):
            storage = x.untyped_storage() if isinstance(x, Tensor) else None
            if storage is not None and storage._cdata not in {*old, *self.alive}:
                self.alive[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, storage._cdata)
        self.bytes = max(self.bytes, sum(self.alive.values()))
        return out


def draw(N: int, V: int, D: int, dtype: torch.dtype) -> list[Tensor]:
    """Return hidden states [N, D] and weight [V, D] of the student (trained), then those of the teacher."""
    shapes = ((N, D), (V, D), (N, D), (V, D))
    return [torch.empty(shape, dtype=dtype, device="meta", requires_grad=i < 2) for i, shape in enumerate(shapes)]


def eager_peak(N: int, V: int, D: int, dtype: torch.dtype) -> int:
    """Return the peak bytes of a forward and backward pass in eager PyTorch, as in the kernel benchmark."""
    hidden, weight, teacher_hidden, teacher_weight = draw(N, V, D, dtype)

    def loss() -> Tensor:
        logits = hidden @ weight.t(), teacher_hidden @ teacher_weight.t()
        log_s, log_t = ((x.float() / 2.0).log_softmax(-1) for x in logits)
        return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)

    with Peak() as peak:
        loss().backward()
    return peak.bytes


def our_peak(N: int, V: int, D: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> int:
    class Nothing:
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return lambda *args, **settings: None

    for kernel in ("accumulate_statistics", "differentiate_chunk", "finish_positions"):
        monkeypatch.setattr(chunks, kernel, Nothing())
    monkeypatch.setattr(chunks, "processors", lambda device: H200)
    hidden, weight, teacher_hidden, teacher_weight = (x.detach() for x in draw(N, V, D, dtype))
    wanted = [True, True, False]
    with Peak() as peak:
        kept = fused._value_and_gradients(
            hidden, weight, None, teacher_hidden, teacher_weight, None, 2.0, None, 0.0, -100, wanted
        )
    assert kept[-1][1].shape == weight.shape
    return peak.bytes


def gradients(N: int, V: int, D: int, dtype: torch.dtype) -> int:
    """Return the bytes of the gradients of hidden states and weight."""
    return (N + V) * D * dtype.itemsize


@pytest.mark.parametrize("D", [768, 1024])
@pytest.mark.parametrize("V", [30_000, 250_000])
@pytest.mark.parametrize("N", [2048, 8192, 32_768])
def test_memory_is_under_a_tenth_of_eagers(N: int, V: int, D: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert our_peak(N, V, D, HALF, monkeypatch) < (0.08 if V < 250_000 else 0.06) * eager_peak(N, V, D, HALF)


@pytest.mark.parametrize(("D", "share"), [(768, 0.2087), (1024, 0.2783)])
def test_at_few_positions_the_gradients_alone_are_more_and_the_rest_is_little(
    D: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    N, V = 307, 250_002
    eager, ours, returned = eager_peak(N, V, D, HALF), our_peak(N, V, D, HALF, monkeypatch), gradients(N, V, D, HALF)
    assert eager == pytest.approx(24 * N * V, rel=1e-3)
    assert returned / eager == pytest.approx(share, abs=1e-4)
    assert (ours - returned) / eager < 0.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("N", "C"), [(307, 307 * 11_264), (2048, 2048 * 8448), (8192, 2048 * 8448)])
def test_memory_beside_the_gradients_is_as_documented(
    N: int, C: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    V, D, half = 250_002, 768, dtype == HALF
    wanted = (10 if half else 12) * C + 64 * N
    wanted += 4 * D * (N + (C // 2048 if N > 2048 else 0)) if half else 0
    beside = our_peak(N, V, D, dtype, monkeypatch) - gradients(N, V, D, dtype)
    assert beside == pytest.approx(wanted, abs=1 << 16)
