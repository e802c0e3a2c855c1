"""Parts (d) and (f): run other benchmarks with flags that fit the time; each leaves its own record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from bistil_kernels.runtime.choice import chosen
from transformers import XLMRobertaConfig, XLMRobertaModel

from bistil_ds.benchmarking.gpu.setting import Emit, Setting
from bistil_ds.benchmarking.harness.benchmark import Content, Job
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.models.shapes import XLMR, student_name

COMPILE_FROM = 150.0  # seconds for the table of kernels from which torch.compile of the eager losses is in it
TOY_CASES = ["hidden_state_loss mse", "SparseAdamW"]
MODELS = [XLMR, student_name(XLMR, 2, 60_000), student_name(XLMR, 3, 60_000)]


def leave_record(
    setting: Setting,
    emit: Emit,
    name: str,
    flags: Any,
    plan: Callable[[Any], Job],
    failures: Callable[[Content], Sequence[str]] = lambda content: (),
) -> None:
    """Run a benchmark and write its record; if the time is out before its end, the record has what was measured.

    Args:
        failures: returns a line for each failure in a record's content; each becomes a finding.

    Raises:
        OutOfTime: the time was out before the end.
    """
    job = plan(flags)
    result = ResultFile(setting.results, name, job.device, asdict(flags), job.seeds)
    result.content["kernels"] = chosen()
    emit.record(result.path.name)
    try:
        with result:
            job.measure(result, setting.check_time)
    finally:
        for line in failures(result.content):
            emit.finding({"broken": line})


def kernels(setting: Setting, emit: Emit) -> None:
    """Write a record of the benchmark of kernels: every kernel at one size first, then further sizes."""
    from bistil_ds.benchmarking.kernels.files import failures
    from bistil_ds.benchmarking.kernels.flags import Flags, plan

    flags = Flags(device=setting.device.type, compile=setting.left() >= COMPILE_FROM)
    if setting.rehearsal:
        flags = Flags(device="cpu", quick=True, only=TOY_CASES)
    leave_record(setting, emit, "kernels", flags, plan, failures)


def models(setting: Setting, emit: Emit) -> None:
    """Write records of latency, memory and energy; each is skipped if the time that it needs is not left."""
    names = [toy_model(setting.work)] if setting.rehearsal else MODELS
    for name, needs, run in (("latency", 20.0, _latency), ("memory", 20.0, _memory), ("energy", 20.0, _energy)):
        left = setting.left()
        if left < needs:
            emit.finding({"skipped": name, "why": f"{max(left, 0):.0f} s were left, and it needs {needs:g}"})
        else:
            run(setting, emit, names)


def _dtype(setting: Setting) -> str:
    return "float32" if setting.rehearsal else "bfloat16"


def _latency(setting: Setting, emit: Emit, names: list[str]) -> None:
    from bistil_ds.benchmarking.latency.flags import Flags, plan

    flags = Flags(model=names, dtype=[_dtype(setting)], device=setting.device.type, minutes=0.4 * setting.left() / 60)
    if setting.rehearsal:
        flags.quick, flags.minutes = True, 0.01
    leave_record(setting, emit, "latency", flags, plan, _unavailable_rows)


def _unavailable_rows(content: Content) -> list[str]:
    return [row["unavailable"] for row in content["rows"] if "unavailable" in row]


def _memory(setting: Setting, emit: Emit, names: list[str]) -> None:
    from bistil_ds.benchmarking.memory.flags import Flags, plan
    from bistil_ds.benchmarking.memory.tables import unavailable_stages

    flags = Flags(model=names, dtype=_dtype(setting), device=setting.device.type, quick=setting.rehearsal)
    leave_record(setting, emit, "memory", flags, plan, unavailable_stages)


def _energy(setting: Setting, emit: Emit, names: list[str]) -> None:
    """Write a record of energy. In a rehearsal no counter is read: the joules are those of a made-up power."""
    from bistil_ds.benchmarking.energy.flags import Flags, plan

    windows = 2 * (len(names) + 2)  # of two rounds, one of which is the control's and one idle
    flags = Flags(model=names, dtype=_dtype(setting), device=setting.device.type, rounds=2)
    flags.seconds = max(1.0, 0.3 * setting.left() / windows)
    if setting.rehearsal:
        flags.quick, flags.seconds, flags.estimate_watts = True, 0.05, 1.0
    leave_record(setting, emit, "energy", flags, plan)


def toy_model(folder: Path) -> str:
    """Write a model of toy size with random weights, and return its folder."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = XLMRobertaModel(XLMRobertaConfig(vocab_size=100, **shape))
    model.save_pretrained(folder / "toy")
    return str(folder / "toy")
