"""Every launch configuration of the hidden-state loss compiles for sm_80 and sm_90 and fits."""

from __future__ import annotations

from typing import Any

from tests.kernels.compiling import CAPABILITIES, assert_fits, row, rows_of

P = 7  # mBERT at layer reduction factor 2


def rows() -> list[dict[str, Any]]:
    """The resource table: each kernel for bf16, fp16 and fp32 states."""
    from bistil_kernels import triton_hidden_state as module
    from bistil_kernels import triton_state_tiles as tiles

    table = []
    for capability in CAPABILITIES:
        for dtype in ("bf16", "fp16", "fp32"):
            halved = dtype == "fp16"
            for projected in (False, True):
                for cosine in (False, True):
                    signature = dict.fromkeys(["n", "T", "D", "Dt", "s_b", "s_t", "t_b", "t_t", "m_b"], "i32:16")
                    signature |= {"students": (f"*{dtype}",) * P, "teachers": (f"*{dtype}",) * P, "mask": "*i1"}
                    kept = "fp32" if cosine and halved else dtype
                    signature |= {"gradients": (f"*{kept}",) * P, "real_tokens": "*i64", "partials": "*fp32"}
                    constants: dict[str, Any] = {"s_d": 1, "t_d": 1, "m_t": 1, "COSINE": cosine}
                    constants |= {"HALVED": halved and not cosine, "w_s": 1}
                    if projected:
                        signature |= {"matrices": ("*fp32",) * P, "w_t": "i32:16"}
                    else:
                        constants |= {"matrices": None, "w_t": 0, "w_s": 0}
                    settings = module.PROJECTED if projected else module.PLAIN
                    name = f"{dtype} {'cosine' if cosine else 'mse'}{' projected' if projected else ''}"
                    table.append(row(tiles.compare_states, name, signature, constants, settings, capability))
            signature = {"sources": (f"*{dtype}",) * P, "targets": (f"*{dtype}",) * P, "factors": "*fp32"}
            signature |= {"upstream": "*fp32", "elements": "i32:16"}
            constants = {"upstream_stride": 1, "IN_PLACE": True}
            table.append(row(tiles.scale, f"{dtype} in place", signature, constants, module.SCALING, capability))
        signature = {"partials": "*fp32", "real_tokens": "*i64", "values": "*fp32", "factors": "*fp32"}
        signature |= dict.fromkeys(("programs", "n", "width"), "i32")
        table.append(row(tiles.finish, "", signature, {"HALVED": False}, module.FINISHING, capability))
    return table


def test_every_configuration_compiles_and_fits() -> None:
    assert_fits(rows_of(__name__))
