"""Define the flags of the sparse stage's benchmark, and plan its run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import choose_device, explain, require_at_least_1
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.training_step.sparse import StudentShape, measure
from bistil_ds.sparse import SparseArguments


@dataclass
class Flags:
    """Flags of the sparse stage's benchmark."""

    densities: list[float] = field(
        default_factory=lambda: [0.01, 0.043, 0.08], metadata=explain("Shares of the base model that train.")
    )
    batch: int = field(default=8, metadata=explain("Sequences in a batch."))
    length: int = field(default=128, metadata=explain("Tokens in a sequence."))
    rounds: int = field(default=7, metadata=explain("Rounds that count; each runs every way once."))
    device: str | None = field(default=None, metadata=explain("cpu or cuda; a GPU where there is one."))
    quick: bool = field(default=False, metadata=explain("A narrow model and a short input, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file goes."))


def plan(flags: Flags) -> Job:
    """Check the flags and plan the run. Weights and tokens are random, because only sizes matter here."""
    require_at_least_1(flags, "batch", "length", "rounds")
    for density in flags.densities:
        SparseArguments(density=density).check(maskable=1)
    shape = StudentShape(flags.batch, flags.length)
    if flags.quick:
        flags.batch, flags.length, flags.rounds = 2, 32, 3
        shape = StudentShape(flags.batch, flags.length, layers=2, width=128, heads=2, vocabulary=2000)
    device = choose_device(flags.device)

    def measure_shape(result: ResultFile, tell: Tell) -> None:
        result.content["shape"] = asdict(shape)
        measure(shape, flags.densities, flags.rounds, device, result.content["rows"], tell)

    return Job(device, measure_shape, seeds={"seed": 0})
