"""Every launch configuration of the sparse updates and of the selection compiles for sm_80 and sm_90 and fits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernels.compiling import CAPABILITIES, assert_fits, row, rows_of

STEPS = 8  # a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}
SCALARS = ("decay", "step_size", "one_minus_beta1", "beta2", "one_minus_beta2", "root_of_correction2", "eps")


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """The resource table: each kernel for bf16, fp16 and fp32 tensors, int32 and int64 indices, aligned and not.

    Without `every_form` one or two forms of each launch configuration.
    """
    found = []
    for capability in CAPABILITIES:
        found += _of_moving(capability, every_form)
        found += _of_updates(capability, every_form)
        found += _of_selection(capability, every_form)
    return found


def _of_moving(capability: int, every_form: bool) -> list[dict[str, Any]]:
    import triton.language as tl
    from bistil_kernels.sparse.entries import fused as module

    found = []
    forms = [(module.BITS[size], tl.int32, True) for size in (2, 4)]
    if every_form:
        forms = [(bits, index, True) for bits in module.BITS.values() for index in (tl.int32, tl.int64)]
        forms.append((module.BITS[2], tl.int32, False))
    for bits, index, aligned in forms:
        constants = {"BITS": _named(bits), "INDEX": index, "STEPS": STEPS, "ALIGNED": aligned}
        name = f"{_named(bits)}, {index} indices{'' if aligned else ', not aligned'}"
        for kernel in (module.gather_entries, module.swap_entries):
            found.append(row(kernel, name, TABLE, constants, module.MOVING, capability))
    return found


def _of_updates(capability: int, every_form: bool) -> list[dict[str, Any]]:
    import triton.language as tl
    from bistil_kernels.sparse.adamw import fused as module

    of_weight, of_delta, write = "weight's gradient", "delta's", "write"
    bf16, fp32, int32, int64 = tl.bfloat16, tl.float32, tl.int32, tl.int64
    forms = [(x, x, int32, kind, True) for x in (bf16, tl.float16, fp32) for kind in (of_weight, of_delta, write)]
    if every_form:
        forms += [(bf16, bf16, int64, kind, True) for kind in (of_weight, of_delta, write)]
        forms += [(bf16, fp32, int32, of_weight, True), (fp32, bf16, int32, of_weight, True)]
        forms += [(bf16, bf16, int32, of_weight, False)]
    found = []
    for weight, gradient, index, kind, aligned in forms:
        constants = {"ADAMW": kind != write, "DENSE": kind == of_weight, "WEIGHT": weight, "INDEX": index}
        constants |= {"GRADIENT": gradient if kind == of_weight else fp32, "STEPS": STEPS, "ALIGNED": aligned}
        name = f"{weight} {kind}{f' in {gradient}' if gradient != weight else ''}"
        name += f"{', int64 indices' if index == int64 else ''}{'' if aligned else ', not aligned'}"
        types = {**TABLE, **dict.fromkeys(SCALARS, "fp32")}
        settings = module.UPDATING if weight == fp32 else module.UPDATING_16
        found.append(row(module.update_deltas, name, types, constants, settings, capability))
    return found


def _of_selection(capability: int, every_form: bool) -> list[dict[str, Any]]:
    import triton.language as tl
    from bistil_kernels.sparse.top_k import fused as module

    found = []
    pairs = [(x, x) for x in (tl.bfloat16, tl.float32)]
    if every_form:
        pairs += [(tl.float16, tl.float16), (tl.float32, tl.bfloat16)]
    for after, before in pairs:
        constants = {"AFTER": after, "BEFORE": before, "STEPS": STEPS, "ALIGNED": True}
        name = str(after) if after == before else f"{after}, {before}"
        signature = {**TABLE, "counts": "*i64", **dict.fromkeys(("blocks", "prefix", "shift"), "i32")}
        for is_first, bits in ((True, 8), (False, 8), (False, 7)):
            digits = {**constants, "FIRST": is_first, "BITS": bits}
            one = f"{name} {bits} bits{' first' if is_first else ''}"
            found.append(row(module.count_digits, one, signature, digits, module.READING, capability))
        signature = {**TABLE, "greater": "*i64", "equal": "*i64", "key": "i32"}
        found.append(row(module.count_blocks, name, signature, constants, module.READING, capability))
        for index in ("i32", "i64") if every_form else ("i32",):
            signature = {**TABLE, "chosen": f"*{index}", "places": "*i64", "quotas": "*i64", "key": "i32"}
            one = f"{name}{', int64 indices' if index == 'i64' else ''}"
            found.append(row(module.collect_chosen, one, signature, constants, module.READING, capability))
    if not every_form:
        return found
    constants = {"AFTER": tl.float32, "BEFORE": tl.float32, "STEPS": STEPS, "ALIGNED": False}
    signature = {**TABLE, "greater": "*i64", "equal": "*i64", "key": "i32"}
    found.append(row(module.count_blocks, "fp32, not aligned", signature, constants, module.READING, capability))
    return found


def _named(dtype: Any) -> Any:
    from bistil_kernels.runtime.table import triton_dtype

    return triton_dtype(dtype)


def assert_wide(table: list[dict[str, Any]]) -> None:
    """What is read and written in order moves 16 bytes at a time, where its alignment allows."""
    for one in table:
        if "not aligned" in one["configuration"]:
            assert one["wide_moves"] == 0, one
        elif "int8," not in one["configuration"]:  # there a thread has no 16 bytes
            assert one["wide_moves"] > 0, one


def test_every_configuration_compiles_fits_and_moves_16_bytes_at_a_time() -> None:
    table = rows_of(__name__)
    assert_fits(table)
    assert_wide(table)


@pytest.mark.slow
def test_every_form_compiles_fits_and_moves_16_bytes_at_a_time() -> None:
    table = rows_of(__name__, every_form=True)
    assert_fits(table)
    assert_wide(table)
