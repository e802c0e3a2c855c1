"""Forms of the kernels for the KL of two linear heads to compile ahead of time: dtypes, biases, labels."""

from __future__ import annotations

from typing import Any

from bistil_kernels.runtime.machine_code import CAPABILITIES, row

DTYPES = ("bf16", "fp16", "fp32")


def rows(every_form: bool = True) -> list[dict[str, Any]]:
    """Compile the kernels and return their resource table, the registers and memory that each form needs.

    The table has each kernel over chunks of logits, with and without biases and labels. Without `every_form`, it has
    all dtypes with labels (these forms need the most resources), and only bf16 without labels.
    """
    return [one for capability in CAPABILITIES for one in _of_chunks(capability, every_form)]


def _of_chunks(capability: int, every_form: bool) -> list[dict[str, Any]]:
    """Compile all forms for logits in fp32, the dtype of every chunk."""
    from bistil_kernels.linear_logits import chunk_kernels as kernels
    from bistil_kernels.linear_logits import chunks as module

    found = []
    sizes: dict[str, str] = dict.fromkeys(("n", "columns", "first_column"), "i32") | {"stride": "i32:16"}
    sizes |= dict.fromkeys(("temperature", "inverse_temperature"), "fp32")
    chunk = dict.fromkeys(("student", "teacher", "state"), "*fp32") | sizes
    for hard in (False, True):
        forms = [*((x, True) for x in DTYPES), ("bf16", False), ("fp16", False)]
        for dtype, biased in forms if every_form else forms[:3] if hard else [("bf16", False)]:
            types, constants = dict(chunk), {"HARD": hard}
            for name, kind in (("student_bias", f"*{dtype}"), ("teacher_bias", f"*{dtype}"), ("labels", "*i64")):
                if hard if name == "labels" else biased:
                    types[name] = kind
                else:
                    constants[name] = None  # type: ignore[assignment]
            name = f"{dtype}{'' if biased else ', no bias'}{', labels' if hard else ''}"
            found.append(row(kernels.accumulate_statistics, name, types, constants, module.READING, capability))
            backward = {**types, "gradient": f"*{dtype}", "alpha_ce": "fp32"}
            del backward["n"]
            found.append(row(kernels.differentiate_chunk, name, backward, constants, module.READING, capability))
        last = {
            "state": "*fp32",
            "value": "*fp32",
            "n": "i32",
            "splits": "i32",
            "temperature": "fp32",
            "alpha_ce": "fp32",
        }
        name = "labels" if hard else ""
        found.append(row(kernels.finish_positions, name, last, {"HARD": hard}, module.FINISHING, capability))
        unsplit = {"HARD": hard, "splits": 1}  # the usual case; only a chunk of few positions has more splits
        types = {k: v for k, v in last.items() if k not in unsplit}
        name = "labels, one split" if hard else "one split"
        found.append(row(kernels.finish_positions, name, types, unsplit, module.FINISHING, capability))
    alone = {"HARD": True, "n": 1}
    types = {**chunk, "labels": "*i64"} | dict.fromkeys(("student_bias", "teacher_bias"), "*bf16")
    types = {k: v for k, v in types.items() if k not in alone}
    name = "bf16, labels, one position"
    found.append(row(kernels.accumulate_statistics, name, types, alone, module.READING, capability))
    types = {k: v for k, v in last.items() if k not in alone}
    found.append(row(kernels.finish_positions, "labels, one position", types, alone, module.FINISHING, capability))
    return found
