"""Forms of the kernels for the KL of logits to compile ahead of time: dtypes, row lengths, strides, masks."""

from __future__ import annotations

from typing import Any

from bistil_kernels.runtime.machine_code import CAPABILITIES, row

DTYPES = ("bf16", "fp16", "fp32")


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """Compile the kernels and return their resource table, the registers and memory that each form needs.

    The table has each kernel for bf16, fp16 and fp32 logits, and for every row length that is compiled separately.
    Without `every_form`, it has a few row lengths only, and fewer of the kernels' other forms.
    """
    found = []
    for capability in CAPABILITIES:
        for dtype in DTYPES:
            found += _of_rows(dtype, capability, every_form)
        found += _of_means(capability)
    return found


def _of_rows(dtype: str, capability: int, every_form: bool) -> list[dict[str, Any]]:
    from bistil_kernels.logits import fused as module
    from bistil_kernels.logits import rows as kernels

    signature: dict[str, str] = {"student": f"*{dtype}", "teacher": f"*{dtype}", "valid": "*i1", "N": "i32"}
    signature |= {"V": "i32:16", "s_n": "i32:16", "t_n": "i32:16", "inverse_temperature": "fp32"}
    contiguous: dict[str, Any] = {"s_v": 1, "t_v": 1, "v_n": 1}
    everyone: dict[str, Any] = {"valid": None, "v_n": 0}
    one = {**signature, "gradient": f"*{dtype}", "valid_rows": "*i64", "losses": "*fp32"}
    found = []

    def add(kernel: Any, name: str, types: dict[str, str], form: dict[str, Any], settings: Any) -> None:
        types = {k: v for k, v in types.items() if k not in form}
        found.append(row(kernel, f"{dtype}{name}", types, {**contiguous, **form}, settings, capability))

    lengths = [16 << n for n in range(20) if 16 << n <= module.LONGEST]
    # In bf16, take some lengths that run on 8 warps and some on 16. In other dtypes, take only the longest, which needs
    # the most resources.
    few = [16, 256, 2048, 4096, lengths[-1]] if dtype == "bf16" else lengths[-1:]
    for V in lengths if every_form else few:
        scaled = {"SCALED": dtype != "fp16"}
        add(kernels.compare_rows, f" V={V}", one, scaled, module.on_chip(V))
        if every_form and V in (2048, lengths[-1]):
            every = {**scaled, **everyone, "valid_rows": None}
            add(kernels.compare_rows, f" V={V}, every row", one, every, module.on_chip(V))
            add(kernels.compare_rows, f" V={V}, no gradient", one, {**scaled, "gradient": None}, module.on_chip(V))
    if every_form:
        transposed = {**one, "s_v": "i32:16", "t_v": "i32:16"}
        ones = {**scaled, "s_n": 1, "t_n": 1, "v_n": 1}
        transposed = {k: v for k, v in transposed.items() if k not in ones}
        name, settings = f"{dtype} V={lengths[-1]}, transposed", module.on_chip(lengths[-1])
        found.append(row(kernels.compare_rows, name, transposed, ones, settings, capability))
    alone = {**everyone, "valid_rows": None, "N": 1, "SCALED": dtype != "fp16"}
    add(kernels.compare_rows, " V=16, one row", one, alone, module.on_chip(16))
    long = {**signature, "statistics": "*fp32", "losses": "*fp32"}
    backward = {**signature, "statistics": "*fp32", "prepared": "*fp32", "upstream": "*fp32", "gradient": f"*{dtype}"}
    for name, form in (("", {}), (", every row", everyone))[: 2 if every_form else 1]:
        add(kernels.compare_long_rows, name, long, form, module.STREAMING)
        add(kernels.differentiate_long_rows, name, backward, form, module.STREAMING)
    return found


def _of_means(capability: int) -> list[dict[str, Any]]:
    from bistil_kernels.logits import fused as module
    from bistil_kernels.logits import rows as kernels

    signature = {"losses": "*fp32", "value": "*fp32", "prepared": "*fp32", "N": "i32", "inverse_temperature": "fp32"}
    found = []
    for applied in (False, True):
        masked = {**signature, "valid_rows": "*i64"}
        name = "upstream applied" if applied else "upstream to come"
        found.append(row(kernels.finish_rows, name, masked, {"APPLIED": applied}, module.FINISHING, capability))
        every = {"APPLIED": applied, "valid_rows": None}
        name += ", every row"
        found.append(row(kernels.finish_rows, name, signature, every, module.FINISHING, capability))
        types = {k: v for k, v in signature.items() if k != "N"}
        alone = {**every, "N": 1}
        found.append(row(kernels.finish_rows, f"{name}, one row", types, alone, module.FINISHING, capability))
    return found
