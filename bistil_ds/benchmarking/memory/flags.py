"""Define the flags of the memory benchmark, and plan its run."""

from __future__ import annotations

from dataclasses import dataclass, field

from bistil_ds.benchmarking.harness.benchmark import Job
from bistil_ds.benchmarking.harness.command import choose_device, explain, require_at_least_1
from bistil_ds.benchmarking.harness.result_file import RESULTS
from bistil_ds.benchmarking.memory.measure import Input, measure
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, student_name


@dataclass
class Flags:
    """Flags of the memory benchmark."""

    model: list[str] = field(
        default_factory=list, metadata=explain("Names of ours, folders or hub ids; the first is the reference.")
    )
    batch: int = field(default=8, metadata=explain("Sequences in a batch."))
    length: int = field(default=128, metadata=explain("Tokens in a sequence."))
    dtype: str = field(default="float32", metadata=explain("Of the weights.", ("float32", "bfloat16", "float16")))
    device: str | None = field(default=None, metadata=explain("cpu or cuda; a GPU where there is one."))
    quick: bool = field(default=False, metadata=explain("mBERT's students alone, a short input, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file and its picture go."))


def plan(flags: Flags) -> Job:
    """Check the flags and plan the run, which measures one model at a time."""
    require_at_least_1(flags, "batch", "length")
    models = flags.model or default_names()
    if flags.quick:
        models = flags.model or [student_name(MBERT, k, 30_000) for k in (2, 3)]
        flags.batch, flags.length = 1, 32
    check_models(models, flags.length)
    device = choose_device(flags.device)
    given = Input(flags.batch, flags.length, flags.dtype, str(device))
    return Job(
        device,
        lambda result, tell: measure(models, given, result.content, tell, result.save),
        seeds={"weights and tokens": 0},
    )
