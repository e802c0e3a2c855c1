"""Forms of the kernels of `gather_at` and `swap_in` to compile ahead of time: element sizes, indices, alignment."""

from __future__ import annotations

from typing import Any

from bistil_kernels.runtime.machine_code import CAPABILITIES, row

STEPS = 8  # steps of the binary search in a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """Compile both kernels and return their resource table, the registers and memory that each form needs.

    The table has every element size, with int32 and with int64 indices, and 2-byte elements in tensors that are not
    16-byte aligned. Without `every_form`, it has only aligned tensors of 2- and 4-byte elements, with int32 indices.
    """
    return [one for capability in CAPABILITIES for one in _of_moving(capability, every_form)]


def _of_moving(capability: int, every_form: bool) -> list[dict[str, Any]]:
    import triton.language as tl

    from bistil_kernels.runtime.table import triton_dtype
    from bistil_kernels.sparse.entries import fused as module

    found = []
    forms = [(module.BITS[size], tl.int32, True) for size in (2, 4)]
    if every_form:
        forms = [(bits, index, True) for bits in module.BITS.values() for index in (tl.int32, tl.int64)]
        forms.append((module.BITS[2], tl.int32, False))
    for bits, index, aligned in forms:
        constants = {"BITS": triton_dtype(bits), "INDEX": index, "STEPS": STEPS, "ALIGNED": aligned}
        name = f"{triton_dtype(bits)}, {index} indices{'' if aligned else ', not aligned'}"
        for kernel in (module.gather_entries, module.swap_entries):
            found.append(row(kernel, name, TABLE, constants, module.MOVING, capability))
    return found
