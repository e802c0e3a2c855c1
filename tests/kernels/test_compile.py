"""Test that the launch configurations compile for GPUs of NVIDIA and AMD, and fit.

On NVIDIA's, what is contiguous is read and written 16 bytes at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bistil_kernels.compile import OPERATIONS, faults, rows
from bistil_kernels.runtime.machine_code import TARGETS, _of_amdgcn, is_amds
from bistil_kernels.runtime.vendor import launchable

pytest.importorskip("triton")


def check(table: Sequence[Mapping[str, Any]], operations: Sequence[str], target: str) -> None:
    assert {(one["operation"], one["target"]) for one in table} == {(name, target) for name in operations}
    assert faults(table) == []
    for one in table:
        if one["operation"].startswith("sparse.") and not is_amds(target):
            check_width(one)


def check_width(one: Mapping[str, Any]) -> None:
    """Check that contiguous reads and writes move 16 bytes at a time, where the alignment allows it."""
    if "not aligned" in one["configuration"]:
        assert one["wide_moves"] == 0, one
    elif "int8," not in one["configuration"]:  # with int8, a thread has fewer than 16 bytes to move
        assert one["wide_moves"] > 0, one


OFTEN = ("attention_map", "logits", "sparse.adamw")  # the slow tests compile all operations


def test_configurations_compile_and_fit() -> None:
    """Compile all in one process, since its start takes as long as some operations."""
    check(rows(OFTEN, targets=["sm_90"]), OFTEN, "sm_90")


def test_a_form_of_each_operation_compiles_and_fits_on_amds_gpus() -> None:
    table = rows(OPERATIONS, "one", ["gfx942"])
    assert len(table) == len(OPERATIONS)
    check(table, OPERATIONS, "gfx942")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_form_compiles_and_fits(operation: str, target: str) -> None:
    check(rows([operation], "every", [target]), [operation], target)


def test_what_does_not_fit_is_named() -> None:
    fits = {"kernel": "move", "configuration": "bf16", "target": "sm_80", "registers": 255, "stack_bytes": 0}
    fits |= {"spills": 0, "shared_bytes": 99 * 1024, "warps": 32}
    spills, large = {**fits, "spills": 2}, {**fits, "shared_bytes": 100 * 1024}
    assert faults([fits, {**large, "target": "sm_90"}]) == []
    assert faults([spills, large]) == [
        "move, bf16, sm_80: 2 spills, at most 0",
        "move, bf16, sm_80: 102400 shared_bytes, at most 101376",
    ]
    amds = {**fits, "target": "gfx942", "registers": 512, "shared_bytes": 64 * 1024, "warps": 16}
    assert faults([amds]) == []
    assert faults([{**amds, "warps": 32, "shared_bytes": 65537}]) == [
        "move, bf16, gfx942: 65537 shared_bytes, at most 65536",
        "move, bf16, gfx942: 32 warps, at most 16",
    ]


AMDGCN = """
\tbuffer_load_dwordx4 v[0:3], v4, s[4:7], 0 offen
\tglobal_store_dwordx2 v4, v[0:1], s[0:1]
\tglobal_store_dwordx4 v4, v[0:3], s[0:1]
\tds_read_b128 v[0:3], v4
; .vgpr_count: 7
amdhsa.kernels:
  - .agpr_count:     32
    .private_segment_fixed_size: 24
    .sgpr_count:     40
    .sgpr_spill_count: 3
    .vgpr_count:     300
    .vgpr_spill_count: 6
"""


def test_what_amds_code_needs_is_read_from_its_text() -> None:
    vectors = {"registers": 300, "accumulators": 32, "spills": 6, "stack_bytes": 24, "wide_moves": 2}
    assert _of_amdgcn(AMDGCN) == {**vectors, "scalar_registers": 40, "scalar_spills": 3}


def test_amds_gpus_get_no_option_that_triton_refuses_for_them() -> None:
    settings = {"OWN": 32, "num_warps": 4, "maxnreg": 128}
    assert launchable(settings, amd=True) == {"OWN": 32, "num_warps": 4}
    assert launchable(settings, amd=False) == launchable(settings) == settings
