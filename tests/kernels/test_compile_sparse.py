"""Every launch configuration of the sparse updates and of the selection compiles for sm_80 and sm_90 and fits."""

from __future__ import annotations

from typing import Any

from tests.kernels.compiling import CAPABILITIES, assert_fits, row, rows_of

STEPS = 8  # a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}


def rows() -> list[dict[str, Any]]:
    """The resource table: each kernel for bf16, fp16 and fp32 weights, gradients and pairs."""
    import triton.language as tl
    from bistil_kernels import triton_adamw, triton_selection, triton_sparse

    scalars = ["decay", "step_size", "one_minus_beta1", "beta2", "one_minus_beta2", "root_of_correction2", "eps"]
    found = []
    for capability in CAPABILITIES:
        for bits in (tl.int16, tl.int32):
            constants = {"BITS": bits, "INDEX": tl.int32, "STEPS": STEPS}
            for kernel in (triton_sparse.gather_entries, triton_sparse.swap_entries):
                found.append(row(kernel, str(bits), TABLE, constants, triton_sparse.MOVING, capability))
        for dtype in (tl.bfloat16, tl.float16, tl.float32):
            for adamw, dense, name in (
                (True, True, "weight's gradient"),
                (True, False, "delta's"),
                (False, False, "write"),
            ):
                gradient = dtype if dense else tl.float32
                constants = {"ADAMW": adamw, "DENSE": dense, "WEIGHT": dtype, "GRADIENT": gradient}
                constants |= {"INDEX": tl.int32, "STEPS": STEPS}
                signature = {**TABLE, **dict.fromkeys(scalars, "fp32")}
                kernel = triton_adamw.update_deltas
                found.append(row(kernel, f"{dtype} {name}", signature, constants, triton_adamw.UPDATING, capability))
            if dtype == tl.float16:
                continue  # compiles to nearly what bf16 does
            constants = {"AFTER": dtype, "BEFORE": dtype, "STEPS": STEPS}
            settings = triton_selection.READING
            signature = {**TABLE, "counts": "*i64", **dict.fromkeys(("blocks", "prefix", "shift"), "i32")}
            for is_first, bits in ((True, 8), (False, 8), (False, 7)):
                digits = {**constants, "FIRST": is_first, "BITS": bits}
                name = f"{dtype} {bits} bits{' first' if is_first else ''}"
                found.append(row(triton_selection.count_digits, name, signature, digits, settings, capability))
            signature = {**TABLE, "greater": "*i64", "equal": "*i64", "key": "i32"}
            found.append(row(triton_selection.count_blocks, str(dtype), signature, constants, settings, capability))
            signature = {**TABLE, "chosen": "*i32", "places": "*i64", "quotas": "*i64", "key": "i32"}
            found.append(row(triton_selection.collect_chosen, str(dtype), signature, constants, settings, capability))
    return found


def test_every_configuration_compiles_and_fits() -> None:
    assert_fits(rows_of(__name__))
