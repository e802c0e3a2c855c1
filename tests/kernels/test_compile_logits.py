"""Every launch configuration of the logit distillation losses compiles for sm_80 and sm_90 and fits."""

from __future__ import annotations

from typing import Any

from tests.kernels.compiling import CAPABILITIES, assert_fits, row, rows_of


def rows() -> list[dict[str, Any]]:
    """The resource table: each kernel for bf16, fp16 and fp32 logits, and every length of row that has its own."""
    from bistil_kernels import triton_logits as module

    found = []
    lengths = [16 << n for n in range(20) if 16 << n <= module.LONGEST]
    for capability in CAPABILITIES:
        for dtype in ("bf16", "fp16", "fp32"):
            signature: dict[str, str] = {"student": f"*{dtype}", "teacher": f"*{dtype}", "valid": "*i1", "N": "i32"}
            signature |= {"V": "i32:16", "s_n": "i32:16", "t_n": "i32:16", "inverse_temperature": "fp32"}
            contiguous = {"s_v": 1, "t_v": 1, "v_n": 1}
            one = {"gradient": f"*{dtype}", "valid_rows": "*i64", "losses": "*fp32"}
            for V in lengths if dtype != "fp16" else lengths[-1:]:  # fp16 compiles to nearly what bf16 does
                settings = module.on_chip(V)
                constants = {**contiguous, "SCALED": dtype != "fp16"}
                found.append(
                    row(module.compare_rows, f"{dtype} V={V}", signature | one, constants, settings, capability)
                )
            long = {**signature, "statistics": "*fp32"}
            kernel, settings = module.compare_long_rows, module.STREAMING
            found.append(row(kernel, dtype, {**long, "losses": "*fp32"}, contiguous, settings, capability))
            backward = {"factor": "*fp32", "upstream": "*fp32", "gradient": f"*{dtype}"}
            found.append(
                row(module.differentiate_long_rows, dtype, {**long, **backward}, contiguous, settings, capability)
            )
        signature = {"losses": "*fp32", "valid_rows": "*i64", "value": "*fp32", "factor": "*fp32", "N": "i32"}
        signature |= {"inverse_temperature": "fp32"}
        found.append(row(module.finish_rows, "", signature, {"APPLIED": True}, module.FINISHING, capability))
    return found + rows_of_chunks()


def rows_of_chunks() -> list[dict[str, Any]]:
    """Those of the linear form, whose logits are always fp32."""
    from bistil_kernels import triton_linear_logits as module

    found = []
    for capability in CAPABILITIES:
        sizes: dict[str, str] = dict.fromkeys(("n", "columns", "first_column"), "i32")
        sizes |= dict.fromkeys(("temperature", "inverse_temperature"), "fp32")
        chunk = dict.fromkeys(("student", "teacher", "state"), "*fp32") | sizes
        for hard in (False, True):
            constants: dict[str, Any] = {"HARD": hard}
            for dtype in ("bf16", "fp32"):
                biased = {**chunk, "student_bias": f"*{dtype}", "teacher_bias": f"*{dtype}"}
                if hard:
                    biased["labels"] = "*i64"
                else:
                    constants["labels"] = None
                name = f"{dtype}{' and labels' if hard else ''}"
                kernel = module.accumulate_statistics
                found.append(row(kernel, name, biased, constants, module.READING, capability))
                backward = {**biased, "gradient": f"*{dtype}", "alpha_ce": "fp32"}
                kernel = module.differentiate_chunk
                found.append(row(kernel, name, backward, constants, module.READING, capability))
            last = {"state": "*fp32", "value": "*fp32", "n": "i32", "temperature": "fp32", "alpha_ce": "fp32"}
            hardness = {"HARD": hard}
            found.append(row(module.finish_positions, "", last, hardness, module.FINISHING, capability))
    return found


def test_every_configuration_compiles_and_fits() -> None:
    assert_fits(rows_of(__name__))
