"""Test `SparseAdamW` and `write_deltas` with Triton kernels: the cases of the references, and the operator."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import (
    SparseAdamW,
    SparseDelta,
    write_deltas,
)
from bistil_kernels.sparse.adamw import fused
from kernel_cases.adamw import *  # noqa: F403
from kernel_cases.entries import some
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401


def test_the_operator_is_registered_as_it_behaves() -> None:
    assert fused
    tensors = [torch.randn(5, 3), torch.randn(7).bfloat16()]
    indices = [some(x) for x in tensors]
    values = [torch.randn(len(i)).to(x.dtype) for x, i in zip(tensors, indices)]
    deltas = [torch.randn(len(i)) for i in indices]
    torch.library.opcheck(torch.ops.bistil_kernels.write_deltas.default, (tensors, indices, values, deltas))


def test_compiled_code_writes_deltas_too() -> None:
    delta = SparseDelta.of(torch.zeros(9), torch.tensor([2, 5]))

    def trained(update: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            delta.delta_K.copy_(update * 2)
        write_deltas([delta])
        return delta.weight + 1

    found = torch.compile(trained, backend="aot_eager", fullgraph=True)(torch.tensor([1.0, 2.0]))
    assert found.tolist() == [1, 1, 3, 1, 1, 5, 1, 1, 1]


@pytest.mark.parametrize("dense", [False, True])
def test_gradients_that_move_with_every_step_are_found(dense: bool) -> None:
    """Check steps with gradients at new addresses, as in most training loops; the rest of the table is kept."""
    weights = [torch.randn(40) for _ in range(3)]
    deltas = [SparseDelta.of(x, torch.arange(0, 40, n + 1)) for n, x in enumerate(weights)]
    fresh = [SparseDelta.of(x.clone(), d.indices_K) for x, d in zip(weights, deltas)]
    optimizer, other = SparseAdamW(deltas, lr=0.1), SparseAdamW(fresh, lr=0.1)
    tables = []
    for _ in range(3):
        # made anew in every step, so that addresses change
        kept = [torch.randn(40 if dense else d.indices_K.numel()) for d in deltas]
        for of in (deltas, fresh):
            for delta, gradient in zip(of, kept):
                (delta.weight if dense else delta.delta_K).grad = gradient.clone()
        optimizer.step()
        other._launches.clear()
        other.step()
        (update,) = optimizer._launches.values()
        tables.append(update._launches[0][0])
        assert all(torch.equal(x.weight, y.weight) for x, y in zip(deltas, fresh))
    assert tables[0] is tables[1] is tables[2]


def test_tensors_of_several_devices_are_refused() -> None:
    delta = SparseDelta.of(torch.ones(3), torch.tensor([1]))
    delta.start_K = delta.start_K.to("meta")
    with pytest.raises(ValueError, match="SparseDelta: start_K is on meta, expected cpu"):
        fused.SparseUpdate([delta]).write()
