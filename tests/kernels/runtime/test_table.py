"""Test tables of pointers."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from bistil_kernels.runtime.table import Table


def test_tables_know_whether_what_is_read_in_order_is_aligned() -> None:
    whole, shifted = torch.zeros(16), torch.zeros(17)[1:]
    for columns, is_aligned in (([whole, whole], True), ([whole, shifted], False), ([shifted, whole], True)):
        table = Table([16], [[x] for x in columns], 1024, scattered=(0,))
        assert table.constants["ALIGNED"] == is_aligned


def test_a_table_whose_tensors_are_replaced_knows_where_they_are_and_whether_they_are_aligned() -> None:
    whole, shifted = torch.zeros(16), torch.zeros(17)[1:]
    for scattered, is_aligned in (((0,), False), ((0, 1), True)):
        table = Table([16], [[whole], [whole]], 1024, scattered=scattered)
        table.replace(1, [shifted.data_ptr()])
        assert table.constants["ALIGNED"] == is_aligned
        assert table.tensor[2:].tolist() == [[whole.data_ptr()], [shifted.data_ptr()]]
        table.replace(1, [whole.data_ptr()])
        assert table.constants["ALIGNED"]
