"""Test `gather_at` and `swap_in` with Triton kernels: the cases of the references, and the operators."""

from __future__ import annotations

import torch
from bistil_kernels import (
    top_k_delta,
)
from bistil_kernels.sparse.entries import fused
from kernel_cases.entries import *  # noqa: F403
from kernel_cases.entries import noise, some
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401


def test_operators_are_registered_as_they_behave() -> None:
    tensors = [torch.randn(5, 3), torch.randn(7).bfloat16(), torch.randn(4, 6).t()]
    indices = [some(x) for x in tensors]
    torch.library.opcheck(torch.ops.bistil_kernels.gather_at.default, (tensors, indices))
    values = [torch.randn(len(i)).to(x.dtype) for x, i in zip(tensors, indices)]
    old = [torch.full_like(x, torch.nan) for x in values]
    torch.library.opcheck(torch.ops.bistil_kernels.swap_in.default, (tensors, indices, values, old))


def test_compiled_code_swaps_too() -> None:
    def there_and_back(weight: torch.Tensor, index: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        old = fused.swap_in([weight], [index], [new])[0]
        return fused.gather_at([weight], [index])[0] + old

    weight, index, new = torch.zeros(9), torch.tensor([2, 5], dtype=torch.int32), torch.tensor([1.0, 2.0])
    found = torch.compile(there_and_back, backend="aot_eager", fullgraph=True)(weight, index, new)
    assert found.tolist() == [1.0, 2.0]
    assert weight.nonzero().squeeze(1).tolist() == [2, 5]


def test_a_block_boundary_inside_a_tensor_moves_nothing_twice() -> None:
    weight = noise((4097,), torch.bfloat16)
    index = torch.arange(4097, dtype=torch.int32)
    old = fused.swap_in([weight], [index], [torch.ones(4097, dtype=torch.bfloat16)])[0]
    assert (weight == 1).all()
    assert torch.equal(fused.swap_in([weight], [index], [old])[0], torch.ones(4097, dtype=torch.bfloat16))


def test_tables_are_made_on_the_host_whatever_the_default_device_is() -> None:
    weight, index, new = torch.zeros(9), torch.tensor([2, 5]), torch.tensor([1.0, 2.0])
    with torch.device("meta"):
        old = fused.swap_in([weight], [index], [new])[0]
        (chosen,) = top_k_delta([(weight, torch.zeros_like(weight))], 1)
    assert old.tolist() == [0.0, 0.0]
    assert weight.nonzero().squeeze(1).tolist() == [2, 5]
    assert chosen.tolist() == [5]


def test_tensors_that_start_anywhere_are_moved_too() -> None:
    weight, index = noise((3001,), torch.bfloat16)[1:], torch.arange(3001, dtype=torch.int32)[1:] - 1
    before = weight.clone()
    old = fused.swap_in([weight], [index], [torch.ones(3001, dtype=torch.bfloat16)[1:]])[0]
    assert (weight == 1).all()
    assert torch.equal(old.view(torch.int16), before.view(torch.int16))


def test_a_weight_swapped_past_the_dispatcher_counts_as_changed() -> None:
    weight, index = torch.zeros(9), torch.tensor([2, 5], dtype=torch.int32)
    before = weight._version
    fused.swap_in([weight], [index], [torch.ones(2)])
    assert weight._version > before
