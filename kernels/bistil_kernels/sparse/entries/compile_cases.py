"""Forms of the kernels of `gather_at` and `swap_in` to compile ahead of time: element sizes, indices, alignment."""

from __future__ import annotations

from collections.abc import Iterator

from bistil_kernels.runtime.machine_code import Form

STEPS = 8  # steps of the binary search in a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of both kernels.

    They have every element size, with int32 and with int64 indices, and 2-byte elements in tensors that are not 16-byte
    aligned. Without `every_form`, there are only aligned tensors of 2- and 4-byte elements, with int32 indices.
    """
    import triton.language as tl

    from bistil_kernels.runtime.table import triton_dtype
    from bistil_kernels.sparse.entries import fused as module

    kinds = [(module.BITS[size], tl.int32, True) for size in (2, 4)]
    if every_form:
        kinds = [(bits, index, True) for bits in module.BITS.values() for index in (tl.int32, tl.int64)]
        kinds.append((module.BITS[2], tl.int32, False))
    for bits, index, aligned in kinds:
        constants = {"BITS": triton_dtype(bits), "INDEX": index, "STEPS": STEPS, "ALIGNED": aligned}
        name = f"{triton_dtype(bits)}, {index} indices{'' if aligned else ', not aligned'}"
        for kernel in (module.gather_entries, module.swap_entries):
            yield Form(kernel, name, TABLE, constants, module.MOVING)
