"""Define the flags of the operations benchmark, and plan its run. The run needs no weights and takes a few seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from bistil_ds.benchmarking.flops.count import META, model_row
from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import explain, require_at_least_1
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, student_name


@dataclass
class Flags:
    """Flags of the operations benchmark."""

    model: list[str] = field(
        default_factory=list, metadata=explain("Names of ours, folders or hub ids; the first is the reference.")
    )
    batch: int = field(default=8, metadata=explain("Sequences in a batch."))
    length: int = field(default=128, metadata=explain("Tokens in a sequence."))
    quick: bool = field(default=False, metadata=explain("mBERT and one student alone."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file goes."))


def plan(flags: Flags) -> Job:
    """Check the flags and plan the run."""
    require_at_least_1(flags, "batch", "length")
    models = flags.model or ([MBERT, student_name(MBERT, 2, 30_000)] if flags.quick else default_names())
    check_models(models, flags.length)

    def measure(result: ResultFile, tell: Tell) -> None:
        for number, name in enumerate(models):
            tell(number / len(models), name)
            result.content["rows"].append(model_row(name, models, flags.batch, flags.length))

    return Job(META, measure)
