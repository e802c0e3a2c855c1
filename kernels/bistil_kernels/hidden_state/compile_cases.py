"""Forms of the hidden-state kernels to compile ahead of time. A form is a choice of dtypes, sizes and constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from bistil_kernels.runtime.machine_code import Form

P = 7  # pairs, one for each state of a six-layer student (embeddings and 6 layers)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ", no mask": {"mask": None, "real_tokens": None, "m_b": 0, "m_t": 0},
    ", no gradient": {"gradients": None},
}


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of the kernels.

    They have each kernel for bf16, fp16 and fp32 states, with and without mask and gradients. Without `every_form`,
    `compare_states` comes only with a mask and gradients, and with teachers of the student's dtype.
    """
    for dtype in DTYPES:
        yield from _of_states(dtype, dtype, every_form)
    if every_form:
        yield from _of_states("fp32", "bf16", every_form)
    yield from _of_means()


def _of_states(dtype: str, teacher: str, every_form: bool) -> Iterator[Form]:
    from bistil_kernels.hidden_state import fused as module
    from bistil_kernels.hidden_state import tiles

    halved = dtype == "fp16"
    states = dtype if dtype == teacher else f"{dtype} from {teacher}"
    for projected in (False, True):
        for cosine in (False, True):
            kept = "fp32" if cosine and halved else dtype
            signature: dict[str, Any] = dict.fromkeys(
                ["n", "T", "D", "Dt", "s_b", "s_t", "t_b", "t_t", "m_b", "w_t"], "i32:16"
            )
            signature |= {"students": (f"*{dtype}",) * P, "teachers": (f"*{teacher}",) * P, "mask": "*i1"}
            signature |= {"gradients": (f"*{kept}",) * P, "real_tokens": "*i64", "partials": "*fp32"}
            signature |= {"matrices": ("*fp32",) * P, "upstream": "fp32"}
            constants: dict[str, Any] = {"s_d": 1, "t_d": 1, "m_t": 1, "COSINE": cosine}
            constants |= {"HALVED": halved and not cosine, "w_s": 1}
            if not projected:
                constants |= {"matrices": None, "w_t": 0, "w_s": 0}
            settings = module.forward_settings(projected, DTYPES[teacher])
            for words, changes in CHANGES.items() if every_form else [("", CHANGES[""])]:
                name = f"{states} {'cosine' if cosine else 'mse'}{' projected' if projected else ''}{words}"
                yield Form(tiles.compare_states, name, signature, {**constants, **changes}, settings)


def _of_means() -> Iterator[Form]:
    from bistil_kernels.hidden_state import fused as module
    from bistil_kernels.hidden_state import tiles

    signature = {"partials": "*fp32", "values": "*fp32", "upstreams": "*fp32", "upstream": "fp32"}
    signature |= {"real_tokens": "*i64", **dict.fromkeys(("programs", "n", "width"), "i32")}
    yield Form(tiles.finish, "", signature, {"HALVED": False}, module.FINISHING)
    for halved in (False, True):
        name = f"no mask{', fp16 mse' if halved else ''}"
        yield Form(tiles.finish, name, signature, {"HALVED": halved, "real_tokens": None}, module.FINISHING)
