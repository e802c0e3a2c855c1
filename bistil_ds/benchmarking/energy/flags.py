"""Define the flags of the energy benchmark, and plan its run.

If no energy counter covers the measured device, the record says "unavailable" and why. With --estimate_watts no counter
is read: joules are the given power times the time, and the record calls them an estimate. --command measures a whole
command, such as a training run, instead of models.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bistil_ds.benchmarking.energy.command import measure_command
from bistil_ds.benchmarking.energy.measure import measure
from bistil_ds.benchmarking.energy.meter import EstimatingMeter, Meter, find_meter
from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import choose_device, explain
from bistil_ds.benchmarking.harness.machine_state import all_threads
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.models.plan import MeasurementPlan
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, label_of, student_name
from bistil_ds.benchmarking.models.subject import InputCase
from bistil_ds.errors import InputError


@dataclass
class Flags:
    """Flags of the energy benchmark."""

    model: list[str] = field(
        default_factory=list,
        metadata=explain("Our names, folders or hub ids; each is compared with its MMT if given, else with the first."),
    )
    command: str | None = field(default=None, metadata=explain("Measure this command instead, given in quotes."))
    batch: int = field(default=8, metadata=explain("Sequences in a batch."))
    length: int = field(default=128, metadata=explain("Tokens in a sequence."))
    dtype: str = field(default="float32", metadata=explain("Of the weights.", ("float32", "bfloat16", "float16")))
    device: str | None = field(default=None, metadata=explain("cpu or cuda; a GPU where there is one."))
    rounds: int = field(default=3, metadata=explain("Windows of each model."))
    seconds: float = field(default=10.0, metadata=explain("Of a window; longer where a counter changes seldom."))
    estimate_watts: float | None = field(default=None, metadata=explain("Estimate from this power, say the TDP."))
    seed: int = field(default=0, metadata=explain("Of the order in which models take turns."))
    quick: bool = field(default=False, metadata=explain("One short window a model; by default mBERT and one student."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file and its picture go."))


def plan(flags: Flags) -> Job:
    """Check the flags, find the meter and plan the run."""
    for name in ("batch", "length", "rounds", "seconds", "estimate_watts"):
        value = getattr(flags, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value}: expected a number above 0")
    models, seconds = flags.model or default_names(), flags.seconds
    if flags.quick:
        models = flags.model or [MBERT, student_name(MBERT, 2, 30_000)]
        flags.rounds, flags.length, seconds = 1, 32, min(seconds, 5.0)
    check_models(models, flags.length)
    device = choose_device(flags.device)
    case = InputCase(flags.batch, flags.length, all_threads())
    wanted = MeasurementPlan(models, [("eager", flags.dtype)], [case], device, seconds, seed=flags.seed)
    meter: Meter | str = EstimatingMeter(flags.estimate_watts) if flags.estimate_watts else find_meter(device)
    windows = flags.rounds * (len(wanted.names()) + 1)
    announcement = f"{windows} windows of {seconds:g} s: {windows * seconds:.0f} s and more, and loading the models"

    def measure_meter(result: ResultFile, tell: Tell) -> None:
        if isinstance(meter, str):
            names = [flags.command] if flags.command else [label_of(name) for name in models]
            result.content["rows"] = [{"model": name, "unavailable": meter} for name in names]
            return
        result.content["meter"] = meter.name
        if flags.command:
            row, interrupted = measure_command(flags.command, meter, seconds)
            result.content["rows"] = [row]
            if interrupted:  # Ctrl-C ends the benchmark as well, but the row is recorded
                raise KeyboardInterrupt
        else:
            measure(wanted, meter, flags.rounds, result.content, tell, result.save)

    return Job(
        device,
        measure_meter,
        seeds={"turns": flags.seed, "weights and tokens": 0},
        announcement="" if flags.command or isinstance(meter, str) else announcement,
        bar=not flags.command,
    )
