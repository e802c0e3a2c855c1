"""`gather_at`, `swap_in` and `SparseAdamW` as Triton kernels: what holds for the references, and the operators."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import SparseAdamW, SparseDelta, top_k_delta, write_deltas
from bistil_kernels.runtime.table import Table
from bistil_kernels.sparse.adamw import fused as adamw_fused
from bistil_kernels.sparse.entries import fused as entries_fused

from tests.kernels.test_sparse import *  # noqa: F403
from tests.kernels.test_sparse import noise, some
from tests.kernels.triton_on_cpu import _triton_serves_the_cpu  # noqa: F401


def test_operators_are_registered_as_they_behave() -> None:
    assert entries_fused
    tensors = [torch.randn(5, 3), torch.randn(7).bfloat16(), torch.randn(4, 6).t()]
    indices = [some(x) for x in tensors]
    torch.library.opcheck(torch.ops.bistil_kernels.gather_at.default, (tensors, indices))
    values = [torch.randn(len(i)).to(x.dtype) for x, i in zip(tensors, indices)]
    old = [torch.full_like(x, torch.nan) for x in values]
    torch.library.opcheck(torch.ops.bistil_kernels.swap_in.default, (tensors, indices, values, old))
    assert adamw_fused
    deltas = [torch.randn(len(i)) for i in indices[:2]]
    torch.library.opcheck(torch.ops.bistil_kernels.write_deltas.default, (tensors[:2], indices[:2], values[:2], deltas))


def test_compiled_code_swaps_too() -> None:
    def there_and_back(weight: torch.Tensor, index: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        old = entries_fused.swap_in([weight], [index], [new])[0]
        return entries_fused.gather_at([weight], [index])[0] + old

    weight, index, new = torch.zeros(9), torch.tensor([2, 5], dtype=torch.int32), torch.tensor([1.0, 2.0])
    found = torch.compile(there_and_back, backend="aot_eager", fullgraph=True)(weight, index, new)
    assert found.tolist() == [1.0, 2.0]
    assert weight.nonzero().squeeze(1).tolist() == [2, 5]


def test_a_block_boundary_inside_a_tensor_moves_nothing_twice() -> None:
    weight = noise((4097,), torch.bfloat16)
    index = torch.arange(4097, dtype=torch.int32)
    old = entries_fused.swap_in([weight], [index], [torch.ones(4097, dtype=torch.bfloat16)])[0]
    assert (weight == 1).all()
    assert torch.equal(entries_fused.swap_in([weight], [index], [old])[0], torch.ones(4097, dtype=torch.bfloat16))


def test_compiled_code_writes_deltas_too() -> None:
    delta = SparseDelta.of(torch.zeros(9), torch.tensor([2, 5]))

    def trained(update: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            delta.delta_K.copy_(update * 2)
        write_deltas([delta])
        return delta.weight + 1

    found = torch.compile(trained, backend="aot_eager", fullgraph=True)(torch.tensor([1.0, 2.0]))
    assert found.tolist() == [1, 1, 3, 1, 1, 5, 1, 1, 1]


def test_tables_are_made_on_the_host_whatever_the_default_device_is() -> None:
    weight, index, new = torch.zeros(9), torch.tensor([2, 5]), torch.tensor([1.0, 2.0])
    with torch.device("meta"):
        old = entries_fused.swap_in([weight], [index], [new])[0]
        (chosen,) = top_k_delta([(weight, torch.zeros_like(weight))], 1)
    assert old.tolist() == [0.0, 0.0]
    assert weight.nonzero().squeeze(1).tolist() == [2, 5]
    assert chosen.tolist() == [5]


def test_tables_know_whether_what_is_read_in_order_is_aligned() -> None:
    whole, shifted = torch.zeros(16), torch.zeros(17)[1:]
    for columns, is_aligned in (([whole, whole], True), ([whole, shifted], False), ([shifted, whole], True)):
        table = Table([16], [[x] for x in columns], 1024, scattered=(0,))
        assert table.constants["ALIGNED"] == is_aligned


def test_tensors_that_start_anywhere_are_moved_too() -> None:
    weight, index = noise((3001,), torch.bfloat16)[1:], torch.arange(3001, dtype=torch.int32)[1:] - 1
    before = weight.clone()
    old = entries_fused.swap_in([weight], [index], [torch.ones(3001, dtype=torch.bfloat16)[1:]])[0]
    assert (weight == 1).all()
    assert torch.equal(old.view(torch.int16), before.view(torch.int16))


def test_a_table_whose_tensors_are_replaced_knows_where_they_are_and_whether_they_are_aligned() -> None:
    whole, shifted = torch.zeros(16), torch.zeros(17)[1:]
    for scattered, is_aligned in (((0,), False), ((0, 1), True)):
        table = Table([16], [[whole], [whole]], 1024, scattered=scattered)
        table.replace(1, [shifted.data_ptr()])
        assert table.constants["ALIGNED"] == is_aligned
        assert table.tensor[2:].tolist() == [[whole.data_ptr()], [shifted.data_ptr()]]
        table.replace(1, [whole.data_ptr()])
        assert table.constants["ALIGNED"]


@pytest.mark.parametrize("dense", [False, True])
def test_gradients_that_move_with_every_step_are_found(dense: bool) -> None:
    """As those of most training loops do: the rest of the table stays."""
    weights = [torch.randn(40) for _ in range(3)]
    deltas = [SparseDelta.of(x, torch.arange(0, 40, n + 1)) for n, x in enumerate(weights)]
    fresh = [SparseDelta.of(x.clone(), d.indices_K) for x, d in zip(weights, deltas)]
    optimizer, other = SparseAdamW(deltas, lr=0.1), SparseAdamW(fresh, lr=0.1)
    tables = []
    for _ in range(3):
        kept = [torch.randn(40 if dense else d.indices_K.numel()) for d in deltas]  # no two steps' in one place
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


def test_a_weight_swapped_past_the_dispatcher_counts_as_changed() -> None:
    weight, index = torch.zeros(9), torch.tensor([2, 5], dtype=torch.int32)
    before = weight._version
    entries_fused.swap_in([weight], [index], [torch.ones(2)])
    assert weight._version > before
