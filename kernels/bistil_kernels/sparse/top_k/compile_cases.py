"""Forms of the kernels of `top_k_delta` to compile ahead of time: dtypes, indices, alignment."""

from __future__ import annotations

from collections.abc import Iterator

from bistil_kernels.runtime.machine_code import Form

STEPS = 8  # steps of the binary search in a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of the kernels.

    They have each kernel for bf16, fp16 and fp32 tensors, and for fp32 compared with bf16. One more form is
    `count_blocks` for fp32 tensors that are not 16-byte aligned. Without `every_form`, there are only aligned bf16 and
    fp32 tensors, with int32 indices.
    """
    import triton.language as tl

    from bistil_kernels.sparse.top_k import fused as module

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
            yield Form(module.count_digits, one, signature, digits, module.READING)
        signature = {**TABLE, "greater": "*i64", "equal": "*i64", "key": "i32"}
        yield Form(module.count_blocks, name, signature, constants, module.READING)
        for index in ("i32", "i64") if every_form else ("i32",):
            signature = {**TABLE, "chosen": f"*{index}", "places": "*i64", "quotas": "*i64", "key": "i32"}
            one = f"{name}{', int64 indices' if index == 'i64' else ''}"
            yield Form(module.collect_chosen, one, signature, constants, module.READING)
    if every_form:
        constants = {"AFTER": tl.float32, "BEFORE": tl.float32, "STEPS": STEPS, "ALIGNED": False}
        signature = {**TABLE, "greater": "*i64", "equal": "*i64", "key": "i32"}
        yield Form(module.count_blocks, "fp32, not aligned", signature, constants, module.READING)
