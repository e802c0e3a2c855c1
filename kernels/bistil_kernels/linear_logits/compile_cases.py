"""Forms of the kernels for the KL of two linear heads to compile ahead of time: dtypes, biases, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bistil_kernels.runtime.machine_code import Form

DTYPES = ("bf16", "fp16", "fp32")


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield the forms of the kernels, for logits in fp32, the dtype of every chunk.

    They have each kernel over chunks of logits, with and without biases and labels. Without `every_form`, there are all
    dtypes with labels (these forms need the most resources), and only bf16 without labels.
    """
    from bistil_kernels.linear_logits import chunk_kernels as kernels
    from bistil_kernels.linear_logits import chunks as module

    sizes: dict[str, str] = dict.fromkeys(("n", "columns", "first_column"), "i32") | {"stride": "i32:16"}
    sizes |= dict.fromkeys(("temperature", "inverse_temperature"), "fp32")
    chunk = dict.fromkeys(("student", "teacher", "state"), "*fp32") | sizes
    last = {"state": "*fp32", "value": "*fp32"} | dict.fromkeys(("n", "splits"), "i32")
    last |= dict.fromkeys(("temperature", "alpha_ce"), "fp32")
    for hard in (False, True):
        kinds = [*((x, True) for x in DTYPES), ("bf16", False), ("fp16", False)]
        for dtype, biased in kinds if every_form else kinds[:3] if hard else [("bf16", False)]:
            types = {**chunk, **dict.fromkeys(("student_bias", "teacher_bias"), f"*{dtype}"), "labels": "*i64"}
            constants: dict[str, Any] = {"HARD": hard}
            constants |= {} if biased else {"student_bias": None, "teacher_bias": None}
            constants |= {} if hard else {"labels": None}
            name = f"{dtype}{'' if biased else ', no bias'}{', labels' if hard else ''}"
            yield Form(kernels.accumulate_statistics, name, types, constants, module.READING)
            backward = {**types, "gradient": f"*{dtype}", "alpha_ce": "fp32"}
            yield Form(kernels.differentiate_chunk, name, backward, constants, module.READING)
        name = "labels" if hard else ""
        yield Form(kernels.finish_positions, name, last, {"HARD": hard}, module.FINISHING)
        unsplit = {"HARD": hard, "splits": 1}  # the usual case; only a chunk of few positions has more splits
        name = "labels, one split" if hard else "one split"
        yield Form(kernels.finish_positions, name, last, unsplit, module.FINISHING)
    alone: dict[str, Any] = {"HARD": True, "n": 1}
    types = {**chunk, "labels": "*i64"} | dict.fromkeys(("student_bias", "teacher_bias"), "*bf16")
    yield Form(kernels.accumulate_statistics, "bf16, labels, one position", types, alone, module.READING)
    yield Form(kernels.finish_positions, "labels, one position", last, alone, module.FINISHING)
