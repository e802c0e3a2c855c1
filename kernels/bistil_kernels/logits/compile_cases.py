"""Forms of the kernels for the KL of logits to compile ahead of time: dtypes, row lengths, strides, masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bistil_kernels.runtime.machine_code import Form

DTYPES = ("bf16", "fp16", "fp32")


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of the kernels.

    They have each kernel for bf16, fp16 and fp32 logits, and for every row length that is compiled separately. Without
    `every_form`, there are a few row lengths only, and fewer of the kernels' other forms.
    """
    for dtype in DTYPES:
        yield from _of_rows(dtype, every_form)
    yield from _of_means()


def _of_rows(dtype: str, every_form: bool) -> Iterator[Form]:
    from bistil_kernels.logits import fused as module
    from bistil_kernels.logits import rows as kernels

    signature: dict[str, str] = {"student": f"*{dtype}", "teacher": f"*{dtype}", "valid": "*i1", "N": "i32"}
    signature |= {"V": "i32:16", "s_n": "i32:16", "t_n": "i32:16", "inverse_temperature": "fp32"}
    contiguous: dict[str, Any] = {"s_v": 1, "t_v": 1, "v_n": 1}
    everyone: dict[str, Any] = {"valid": None, "v_n": 0}
    one = {**signature, "gradient": f"*{dtype}", "valid_rows": "*i64", "losses": "*fp32"}

    def form(kernel: Any, name: str, types: dict[str, str], own: dict[str, Any], settings: Any) -> Form:
        return Form(kernel, f"{dtype}{name}", types, {**contiguous, **own}, settings)

    lengths = [16 << n for n in range(20) if 16 << n <= module.LONGEST]
    # In bf16, take some lengths that run on 8 warps and some on 16. In other dtypes, take only the longest, which needs
    # the most resources.
    few = [16, 256, 2048, 4096, lengths[-1]] if dtype == "bf16" else lengths[-1:]
    scaled = {"SCALED": dtype != "fp16"}
    for V in lengths if every_form else few:
        yield form(kernels.compare_rows, f" V={V}", one, scaled, module.on_chip(V))
        if every_form and V in (2048, lengths[-1]):
            every = {**scaled, **everyone, "valid_rows": None}
            yield form(kernels.compare_rows, f" V={V}, every row", one, every, module.on_chip(V))
            without = {**scaled, "gradient": None}
            yield form(kernels.compare_rows, f" V={V}, no gradient", one, without, module.on_chip(V))
    if every_form:
        transposed = {**one, "s_v": "i32:16", "t_v": "i32:16"}
        ones = {**scaled, "s_n": 1, "t_n": 1, "v_n": 1}
        name, settings = f"{dtype} V={lengths[-1]}, transposed", module.on_chip(lengths[-1])
        yield Form(kernels.compare_rows, name, transposed, ones, settings)
    alone = {**everyone, **scaled, "valid_rows": None, "N": 1}
    yield form(kernels.compare_rows, " V=16, one row", one, alone, module.on_chip(16))
    long = {**signature, "statistics": "*fp32", "losses": "*fp32"}
    backward = {**signature, "statistics": "*fp32", "prepared": "*fp32", "upstream": "*fp32", "gradient": f"*{dtype}"}
    for name, own in (("", {}), (", every row", everyone))[: 2 if every_form else 1]:
        yield form(kernels.compare_long_rows, name, long, own, module.STREAMING)
        yield form(kernels.differentiate_long_rows, name, backward, own, module.STREAMING)


def _of_means() -> Iterator[Form]:
    from bistil_kernels.logits import fused as module
    from bistil_kernels.logits import rows as kernels

    signature = {"losses": "*fp32", "value": "*fp32", "prepared": "*fp32", "N": "i32", "inverse_temperature": "fp32"}
    signature |= {"valid_rows": "*i64"}
    for applied in (False, True):
        name = "upstream applied" if applied else "upstream to come"
        every = {"APPLIED": applied, "valid_rows": None}
        yield Form(kernels.finish_rows, name, signature, {"APPLIED": applied}, module.FINISHING)
        yield Form(kernels.finish_rows, f"{name}, every row", signature, every, module.FINISHING)
        yield Form(kernels.finish_rows, f"{name}, every row, one row", signature, {**every, "N": 1}, module.FINISHING)
