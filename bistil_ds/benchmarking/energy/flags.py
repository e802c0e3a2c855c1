"""Energy of MMTs, their students and other small models: joules a sentence, from counters, idle power subtracted.

Without --model: those of latency.py. Where this machine has no energy counter the result is "unavailable" and says why;
--estimate_watts gives an estimate instead, labelled as one. --command measures a whole command, such as a training run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bistil_ds import cli
from bistil_ds.benchmarking.energy.command import measure_command
from bistil_ds.benchmarking.energy.measure import measure
from bistil_ds.benchmarking.energy.meter import EstimatingMeter, Meter, find_meter
from bistil_ds.benchmarking.energy.tables import energy_grids, energy_plots
from bistil_ds.benchmarking.harness.command import chosen_device, parsed, shown, told
from bistil_ds.benchmarking.harness.machine_state import all_threads
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.latency.measure import Plan
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, label_of, student_name
from bistil_ds.benchmarking.models.subject import Case
from bistil_ds.errors import InputError


@dataclass
class Arguments:
    """The command's flags."""

    model: list[str] = field(
        default_factory=list, metadata=told("Names of ours, folders or hub ids; the first is the reference.")
    )
    command: str | None = field(default=None, metadata=told("Measure this command instead, given in quotes."))
    batch: int = field(default=8, metadata=told("Sequences in a batch."))
    length: int = field(default=128, metadata=told("Tokens in a sequence."))
    dtype: str = field(default="float32", metadata=told("Of the weights.", ("float32", "bfloat16", "float16")))
    device: str | None = field(default=None, metadata=told("cpu or cuda; a GPU where there is one."))
    rounds: int = field(default=3, metadata=told("Windows of each model."))
    seconds: float = field(default=10.0, metadata=told("Of a window, longer where counters move slowly."))
    estimate_watts: float | None = field(default=None, metadata=told("Estimate from this power, say the TDP."))
    seed: int = field(default=0, metadata=told("Of the order in which models take turns."))
    quick: bool = field(default=False, metadata=told("mBERT and one student, one short window, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file and its picture go."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def run(args: Arguments) -> None:
    """Measure, record, show."""
    for name in ("batch", "length", "rounds", "seconds", "estimate_watts"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value}: expected a number above 0")
    models, seconds = args.model or default_names(), args.seconds
    if args.quick:
        models = args.model or [MBERT, student_name(MBERT, 2, 30_000)]
        args.rounds, args.length, seconds = 1, 32, min(seconds, 5.0)
    check_models(models, args.length)
    device = chosen_device(args.device)
    case = Case(args.batch, args.length, all_threads())
    plan = Plan(models, [("eager", args.dtype)], [case], device, seconds, seed=args.seed)
    meter: Meter | str = EstimatingMeter(args.estimate_watts) if args.estimate_watts else find_meter()
    seeds = {"turns": args.seed, "weights and tokens": 0}
    result = ResultFile(Path(args.output_dir), "energy", device, asdict(args), seeds)
    of_command = []
    if args.command and not isinstance(meter, str):
        of_command = [measure_command(args.command, meter, seconds)]  # which has the terminal for itself
    with shown(result, energy_grids, energy_plots) as tell:
        if isinstance(meter, str):
            names = [args.command] if args.command else [label_of(name) for name in models]
            result.content["rows"] = [{"model": name, "unavailable": meter} for name in names]
            return
        result.content["meter"] = meter.name
        if args.command:
            result.content["rows"] = of_command
            return
        windows = args.rounds * (len(plan.names()) + 1)
        tell(0.0, f"{windows} windows of {seconds:g} s: about {windows * seconds / 60:.0f} minutes")
        measure(plan, meter, args.rounds, result.content, tell, result.save)
