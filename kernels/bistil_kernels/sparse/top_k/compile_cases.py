"""Forms of the kernels of `top_k_delta` to compile ahead of time: dtypes, indices, alignment."""

from __future__ import annotations

from typing import Any

from bistil_kernels.runtime.machine_code import CAPABILITIES, row

STEPS = 8  # steps of the binary search in a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """Compile the kernels and return their resource table, the registers and memory that each form needs.

    The table has each kernel for bf16, fp16 and fp32 tensors, and for fp32 compared with bf16. One more row is
    `count_blocks` for fp32 tensors that are not 16-byte aligned. Without `every_form`, the table has only aligned bf16
    and fp32 tensors, with int32 indices.
    """
    return [one for capability in CAPABILITIES for one in _of_selection(capability, every_form)]


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
