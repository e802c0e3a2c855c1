"""Forms of the kernel `update_deltas` to compile ahead of time: dtypes, gradients, alignment."""

from __future__ import annotations

from collections.abc import Iterator

from bistil_kernels.runtime.machine_code import Form

STEPS = 8  # steps of the binary search in a table of 128 to 255 tensors
TABLE = {"table": "*i64", "P": "i32"}
SCALARS = ("decay", "step_size", "one_minus_beta1", "beta2", "one_minus_beta2", "root_of_correction2", "eps")


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of the kernel.

    They have bf16, fp16 and fp32 weights. `every_form` adds bf16 weights with int64 indices, weights whose gradients
    have another dtype, and tensors that are not 16-byte aligned.
    """
    import triton.language as tl

    from bistil_kernels.sparse.adamw import fused as module

    of_weight, of_delta, write = "weight's gradient", "delta's", "write"
    bf16, fp32, int32, int64 = tl.bfloat16, tl.float32, tl.int32, tl.int64
    kinds = [(x, x, int32, kind, True) for x in (bf16, tl.float16, fp32) for kind in (of_weight, of_delta, write)]
    if every_form:
        kinds += [(bf16, bf16, int64, kind, True) for kind in (of_weight, of_delta, write)]
        kinds += [(bf16, fp32, int32, of_weight, True), (fp32, bf16, int32, of_weight, True)]
        kinds += [(bf16, bf16, int32, of_weight, False)]
    for weight, gradient, index, kind, aligned in kinds:
        constants = {"ADAMW": kind != write, "DENSE": kind == of_weight, "WEIGHT": weight, "INDEX": index}
        constants |= {"GRADIENT": gradient if kind == of_weight else fp32, "STEPS": STEPS, "ALIGNED": aligned}
        name = f"{weight} {kind}{f' in {gradient}' if gradient != weight else ''}"
        name += f"{', int64 indices' if index == int64 else ''}{'' if aligned else ', not aligned'}"
        types = {**TABLE, **dict.fromkeys(SCALARS, "fp32")}
        settings = module.UPDATING if weight == fp32 else module.UPDATING_16
        yield Form(module.update_deltas, name, types, constants, settings)
