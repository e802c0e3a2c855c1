"""Part (e): time a phase-1 step of XLM-R-base, k = 2, in the ways that the throughput benchmark knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from bistil_kernels.runtime.choice import chosen

from bistil_ds.benchmarking.gpu.setting import Emit, Setting
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.models.shapes import XLMR
from bistil_ds.benchmarking.training_step.measure import compare_faster, compare_ways
from bistil_ds.benchmarking.training_step.ways import Shape, Steps

BATCHES, LENGTH, VOCABULARY = (8, 32), 256, 30_000
ROUNDS = 10
SECONDS = {"as a CUDA graph": 5.0, "compiled": 40.0}  # guesses, from making the models to the last round
TOY = Shape(length=8, batch=2, layers=4, width=16, heads=2, vocabulary=50)


def measure(setting: Setting, emit: Emit) -> None:
    """Write a record of the throughput benchmark: floor, eager and ours in bf16 and fp32, then ours in faster forms.

    These are a CUDA graph and compiled models, both in bf16. A finding says what was left out, and why.
    """
    full = [Shape(LENGTH, batch, vocabulary=VOCABULARY, mmt=XLMR) for batch in BATCHES]
    shapes, rounds = ([TOY], 2) if setting.rehearsal else (full, ROUNDS)
    dtypes = (torch.float32,) if setting.rehearsal else (torch.bfloat16, torch.float32)
    arguments = {"shapes": [asdict(shape) for shape in shapes], "rounds": rounds, "quick": setting.rehearsal}
    result = ResultFile(setting.results, "throughput", setting.device, arguments, {"weights and tokens": 0})
    result.content["kernels"] = chosen()
    emit.record(result.path.name)

    def add(title: str, rows: Mapping[str, Any]) -> None:
        result.content["rows"] += [{"table": title, "way": name, **row} for name, row in rows.items()]
        result.save()

    with result:
        for dtype in dtypes:
            for shape in shapes:
                add(
                    table_of(shape, dtype),
                    compare_ways(shape, rounds, setting.device, memory=False, tell=setting.check_time, dtype=dtype),
                )
        backend = "eager" if setting.rehearsal else "inductor"  # a rehearsal does not wait for machine code
        faster = {"as a CUDA graph": Steps.graphed, "compiled": lambda steps: steps.compiled(backend)}
        for name, make in faster.items():
            for shape in shapes:
                needs = 0.0 if setting.rehearsal else SECONDS[name]
                left = setting.left()
                if left < needs:
                    why = f"{max(left, 0):.0f} s were left, and it needs about {needs:g}"
                    emit.finding({"skipped": f"ours {name}, batch {shape.batch}", "why": why})
                    continue
                try:
                    rows = compare_faster(name, make, shape, rounds, setting.device, dtypes[0], setting.check_time)
                except RuntimeError as error:  # it cannot be recorded or compiled, which must not lose the rest
                    why = " ".join(str(error).split())[:300]
                    emit.finding({"skipped": f"ours {name}, batch {shape.batch}", "why": why})
                    continue
                add(f"{table_of(shape, dtypes[0])}, {name}", rows)


def table_of(shape: Shape, dtype: torch.dtype) -> str:
    """Return the title of the table of a shape and a dtype."""
    model = f"{shape.mmt}, k = 2" if shape.mmt else "toy"
    return f"{model}, batch {shape.batch} × {shape.length}, {str(dtype).removeprefix('torch.')}"
