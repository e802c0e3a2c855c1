"""Every launch configuration of the attention-map loss compiles for sm_80 and sm_90 and fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kernels.compiling import CAPABILITIES, assert_fits, row, rows_of

P = 6  # mBERT at layer reduction factor 2
HEADS = {"64": ("bf16", 64), "128": ("bf16", 128), "wide": ("fp16", 256), "fp32": ("fp32", 128)}
OTHER_DTYPES = (("64", "fp16", 64), ("128", "fp16", 128), ("wide", "bf16", 256), ("fp32", "fp32 from bf16", 64))
MASKLESS = {"mask": None, "m_b": 0, "m_t": 0}
WHOLE = {**MASKLESS, "FULL": True}  # no tile is cut, as at most lengths
FORMS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ", kl": {"KL": True},
    ", no mask": MASKLESS,
    ", kl, no mask": {"KL": True, **MASKLESS},
    ", whole tiles": WHOLE,
    ", kl, whole tiles": {"KL": True, **WHOLE},
    ", all queries": {"MASK_QUERIES": False},
}
FORWARD_FORMS: Mapping[str, Mapping[str, Any]] = {
    ", all keys in a tile": {"ONE_TILE": True},
    ", kl, all keys in a tile": {"ONE_TILE": True, "KL": True},
    ", no gradient": {"stats": None},
}


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """The resource table: each kernel for the widest heads of each kind, in each form.

    Without `every_form` one or two forms of each launch configuration.
    """
    table = []
    for capability in CAPABILITIES:
        for kind, (dtype, width) in HEADS.items():
            table += _of_heads(kind, dtype, width, capability, every_form)
        for kind, dtype, width in OTHER_DTYPES if every_form else ():
            table += _of_heads(kind, dtype, width, capability, False)
        table += _of_means(capability, every_form)
    return table


def _of_heads(kind: str, dtype: str, width: int, capability: int, every_form: bool) -> list[dict[str, Any]]:
    from bistil_kernels import triton_attention_map as module
    from bistil_kernels import triton_attention_tiles as tiles

    table = []
    for kernel in (tiles.compare_maps, tiles.query_gradients, tiles.key_gradients):
        forward = kernel is tiles.compare_maps
        strides = [f"{x}_{axis}" for x in ("qs", "ks", "qt", "kt") for axis in "bht"]
        signature: dict[str, Any] = dict.fromkeys([*strides, "m_b", "T", "layer"], "i32:16")
        student, _, teacher = dtype.partition(" from ")
        dtypes = {"s": student, "t": teacher or student}
        signature |= {f"{x}_{y}": (f"*{dtypes[y]}",) * P for x in ("queries", "keys") for y in "st"}
        signature |= {"stats": ("*fp32",) * P, "mask": "*i1", "H": "i32"}
        signature |= {"scale_s": "fp32", "scale_t": "fp32"}
        if forward:
            signature |= {"partials": "*fp32"}
        else:
            signature |= {"gradients": (f"*{student}",) * P, "factors": "*fp32", "upstream": "*fp32"}
        part = (module.FORWARD if forward else module.BACKWARD)[kind]["PART"]
        constants: dict[str, Any] = {f"{x}_d": 1 for x in ("qs", "ks", "qt", "kt")}
        constants |= {"m_t": 1, "up_p": 1, "d_s": width, "d_t": width}
        constants |= {"KL": False, "MASK_QUERIES": True, "FULL": False, "ONE_TILE": False}
        constants |= dict.fromkeys(("WIDTH_S", "WIDTH_T"), 64 if part else width)
        forms = {**FORMS, **FORWARD_FORMS} if forward else FORMS
        for name, form in forms.items():
            if name and name != ", all keys in a tile" and not every_form:
                continue
            types = {k: v for k, v in signature.items() if k not in form}
            settings = module.FORWARD[kind]
            if not forward:
                settings = module.backward_settings(kind, "mask" not in form, form.get("MASK_QUERIES", True))
            configuration = f"{dtype} width {width}{name}"
            table.append(row(kernel, configuration, types, {**constants, **form}, settings, capability))
    return table


def _of_means(capability: int, every_form: bool) -> list[dict[str, Any]]:
    from bistil_kernels import triton_attention_map as module
    from bistil_kernels import triton_attention_tiles as tiles

    signature = dict.fromkeys(("programs", "T", "m_b"), "i32:16") | dict.fromkeys("BH", "i32")
    signature |= {"partials": "*fp32", "mask": "*i1", "values": "*fp32", "factors": "*fp32"}
    table = []
    for name, form in FORMS.items() if every_form else [("", FORMS[""])]:
        constants = {"KL": False, "MASK_QUERIES": True, "m_t": 1, **form}
        types = {k: v for k, v in signature.items() if k not in form}
        table.append(row(tiles.finish_maps, name.lstrip(", "), types, constants, module.FINISHING, capability))
    return table


def test_every_configuration_compiles_and_fits() -> None:
    assert_fits(rows_of(__name__))


@pytest.mark.slow
def test_every_form_compiles_and_fits() -> None:
    assert_fits(rows_of(__name__, every_form=True))
