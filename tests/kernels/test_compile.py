"""Test that the launch configurations compile for sm_80 and sm_90, fit, and move 16 bytes at a time if they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bistil_kernels.compile import OPERATIONS, faults, rows
from bistil_kernels.runtime.machine_code import CAPABILITIES

pytest.importorskip("triton")


def check(operation: str, table: Sequence[Mapping[str, Any]], targets: set[str]) -> None:
    assert {one["target"] for one in table} == targets
    assert faults(table) == []
    if operation.startswith("sparse."):
        for one in table:
            check_width(one)


def check_width(one: Mapping[str, Any]) -> None:
    """Check that contiguous reads and writes move 16 bytes at a time, where the alignment allows it."""
    if "not aligned" in one["configuration"]:
        assert one["wide_moves"] == 0, one
    elif "int8," not in one["configuration"]:  # with int8, a thread has fewer than 16 bytes to move
        assert one["wide_moves"] > 0, one


OFTEN = ("attention_map", "logits", "sparse.adamw")  # the slow tests compile all operations


@pytest.mark.parametrize("operation", OFTEN)
def test_configurations_compile_and_fit(operation: str) -> None:
    check(operation, rows(operation, capability=90), {"sm_90"})


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_form_compiles_and_fits(operation: str, capability: int) -> None:
    check(operation, rows(operation, every_form=True, capability=capability), {f"sm_{capability}"})


def test_what_does_not_fit_is_named() -> None:
    fits = {"kernel": "move", "configuration": "bf16", "target": "sm_80", "registers": 255, "stack_bytes": 0}
    fits |= {"spills": 0, "shared_bytes": 99 * 1024}
    spills, large = {**fits, "spills": 2}, {**fits, "shared_bytes": 100 * 1024}
    assert faults([fits, {**large, "target": "sm_90"}]) == []
    assert faults([spills, large]) == [
        "move, bf16, sm_80: 2 spills, at most 0",
        "move, bf16, sm_80: 102400 shared_bytes, at most 101376",
    ]
