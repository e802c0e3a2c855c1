"""Every launch configuration of the attention-map loss compiles for sm_80 and sm_90 and fits."""

from __future__ import annotations

from typing import Any

from tests.kernels.compiling import CAPABILITIES, assert_fits, row, rows_of

P = 6  # mBERT at layer reduction factor 2
HEADS = {"64": ("bf16", 64), "128": ("bf16", 128), "wide": ("fp16", 256), "fp32": ("fp32", 128)}


def rows() -> list[dict[str, Any]]:
    """The resource table: each kernel for the widest heads of each kind."""
    from bistil_kernels import triton_attention_map as module
    from bistil_kernels import triton_attention_tiles as tiles

    table = []
    for capability in CAPABILITIES:
        for kind, (dtype, width) in HEADS.items():
            for kernel in (tiles.compare_maps, tiles.query_gradients, tiles.key_gradients):
                forward = kernel is tiles.compare_maps
                for one_tile in (False, True) if forward else (None,):
                    strides = [f"{x}_{axis}" for x in ("qs", "ks", "qt", "kt") for axis in "bht"]
                    signature: dict[str, Any] = dict.fromkeys([*strides, "m_b", "T", "layer"], "i32:16")
                    signature |= {f"{x}_{y}": (f"*{dtype}",) * P for x in ("queries", "keys") for y in "st"}
                    signature |= {"stats": ("*fp32",) * P, "mask": "*i1", "H": "i32"}
                    signature |= {"scale_s": "fp32", "scale_t": "fp32"}
                    if forward:
                        signature |= {"partials": "*fp32"}
                    else:
                        signature |= {"gradients": (f"*{dtype}",) * P, "factors": "*fp32", "upstream": "*fp32"}
                    constants: dict[str, Any] = {f"{x}_d": 1 for x in ("qs", "ks", "qt", "kt")}
                    constants |= {"m_t": 1, "up_p": 1, "d_s": width, "d_t": width}
                    constants |= {"KL": False, "MASK_QUERIES": True, "ONE_TILE": one_tile}
                    settings = (module.FORWARD if forward else module.BACKWARD)[kind]
                    constants |= {"WIDTH_S": 64 if settings["PART"] else width}
                    constants |= {"WIDTH_T": constants["WIDTH_S"]}
                    name = f"{dtype} width {width}{', all keys in a tile' if one_tile else ''}"
                    table.append(row(kernel, name, signature, constants, settings, capability))
        signature = dict.fromkeys(("programs", "T", "m_b"), "i32:16") | dict.fromkeys("BH", "i32")
        signature |= {"partials": "*fp32", "mask": "*i1", "values": "*fp32", "factors": "*fp32"}
        constants = {"KL": False, "MASK_QUERIES": True, "m_t": 1}
        table.append(row(tiles.finish_maps, "", signature, constants, module.FINISHING, capability))
    return table


def test_every_configuration_compiles_and_fits() -> None:
    assert_fits(rows_of(__name__))
