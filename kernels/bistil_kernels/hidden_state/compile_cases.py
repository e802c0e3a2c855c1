"""Forms of the hidden-state kernels to compile ahead of time. A form is a choice of dtypes, sizes and constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bistil_kernels.runtime.machine_code import CAPABILITIES, row

P = 7  # pairs, one for each state of a six-layer student (embeddings and 6 layers)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
FORMS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ", no mask": {"mask": None, "real_tokens": None, "m_b": 0, "m_t": 0},
    ", no gradient": {"gradients": None},
}


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """Compile the kernels and return their resource table, the registers and memory that each form needs.

    The table has each kernel for bf16, fp16 and fp32 states, with and without mask and gradients. Without `every_form`,
    it has `compare_states` only with a mask and gradients, and with teachers of the student's dtype.
    """
    table = []
    for capability in CAPABILITIES:
        for dtype in DTYPES:
            table += _of_states(dtype, dtype, capability, every_form)
        if every_form:
            table += _of_states("fp32", "bf16", capability, every_form)
        table += _of_means(capability)
    return table


def _of_states(dtype: str, teacher: str, capability: int, every_form: bool) -> list[dict[str, Any]]:
    from bistil_kernels.hidden_state import fused as module
    from bistil_kernels.hidden_state import tiles

    table, halved = [], dtype == "fp16"
    states = dtype if dtype == teacher else f"{dtype} from {teacher}"
    for projected in (False, True):
        for cosine in (False, True):
            kept = "fp32" if cosine and halved else dtype
            signature: dict[str, Any] = dict.fromkeys(
                ["n", "T", "D", "Dt", "s_b", "s_t", "t_b", "t_t", "m_b"], "i32:16"
            )
            signature |= {"students": (f"*{dtype}",) * P, "teachers": (f"*{teacher}",) * P, "mask": "*i1"}
            signature |= {"gradients": (f"*{kept}",) * P, "real_tokens": "*i64", "partials": "*fp32"}
            signature |= {"upstream": "fp32"}
            constants: dict[str, Any] = {"s_d": 1, "t_d": 1, "m_t": 1, "COSINE": cosine}
            constants |= {"HALVED": halved and not cosine, "w_s": 1}
            if projected:
                signature |= {"matrices": ("*fp32",) * P, "w_t": "i32:16"}
            else:
                constants |= {"matrices": None, "w_t": 0, "w_s": 0}
            settings = module.forward_settings(projected, DTYPES[teacher])
            for form, changes in FORMS.items() if every_form else [("", FORMS[""])]:
                types = {k: v for k, v in signature.items() if k not in changes}
                name = f"{states} {'cosine' if cosine else 'mse'}{' projected' if projected else ''}{form}"
                fixed = {**constants, **changes}
                table.append(row(tiles.compare_states, name, types, fixed, settings, capability))
    return table


def _of_means(capability: int) -> list[dict[str, Any]]:
    from bistil_kernels.hidden_state import fused as module
    from bistil_kernels.hidden_state import tiles

    signature = {"partials": "*fp32", "values": "*fp32", "upstreams": "*fp32", "upstream": "fp32"}
    signature |= dict.fromkeys(("programs", "n", "width"), "i32")
    masked: tuple[dict[str, str], dict[str, Any]] = {**signature, "real_tokens": "*i64"}, {"HALVED": False}
    table = [row(tiles.finish, "", *masked, module.FINISHING, capability)]
    for halved in (False, True):
        constants = {"HALVED": halved, "real_tokens": None}
        name = f"no mask{', fp16 mse' if halved else ''}"
        table.append(row(tiles.finish, name, signature, constants, module.FINISHING, capability))
    return table
