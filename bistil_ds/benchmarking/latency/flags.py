"""Latency of MMTs, their students and other small models: percentiles, and time over the MMT's, pair by pair.

Without --model: XLM-R-base and mBERT, their students (every second or third layer; 30k and 60k tokens), DistilmBERT and
multilingual MiniLM, by shape, with random weights. Each runs in a process of its own and they take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from bistil_ds import cli
from bistil_ds.benchmarking.harness.command import chosen_device, parsed, shown, told
from bistil_ds.benchmarking.harness.machine_state import all_threads
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.latency.estimate import estimated_seconds
from bistil_ds.benchmarking.latency.measure import Plan, measure
from bistil_ds.benchmarking.latency.plots import latency_plots
from bistil_ds.benchmarking.latency.tables import latency_grids
from bistil_ds.benchmarking.models.engines import ENGINES
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, student_name
from bistil_ds.benchmarking.models.subject import Case
from bistil_ds.corpora.text_files import read_texts
from bistil_ds.errors import InputError

GRIDS = {"small": ([1, 8], [128]), "full": ([1, 8, 32], [32, 128, 512])}
DTYPES = ("float32", "bfloat16", "float16")
TEXT_BATCHES = 50


@dataclass
class Arguments:
    """The command's flags."""

    model: list[str] = field(
        default_factory=list,
        metadata=told("Names of ours, folders or hub ids; the first is the reference of unknown ones."),
    )
    grid: str = field(
        default="small",
        metadata=told("small: batch 1, 8, length 128; full: batch 1, 8, 32, length 32, 128, 512.", GRIDS),
    )
    text_file: str | None = field(
        default=None, metadata=told("Sentences, one a line: real lengths; the models need tokenizers.")
    )
    engine: list[str] = field(
        default_factory=lambda: ["eager"], metadata=told(f"Any of {', '.join(ENGINES)}.", ENGINES)
    )
    compile: bool = field(default=False, metadata=told("Measure torch.compile too."))
    dtype: list[str] = field(default_factory=lambda: ["float32"], metadata=told(f"Any of {', '.join(DTYPES)}.", DTYPES))
    threads: list[int] = field(default_factory=list, metadata=told("CPU threads; 1 and all unless given."))
    device: str | None = field(default=None, metadata=told("cpu or cuda; a GPU where there is one."))
    minutes: float = field(default=8.0, metadata=told("Time for all, the models' starts included."))
    seed: int = field(default=0, metadata=told("Of the order in which models take turns."))
    quick: bool = field(default=False, metadata=told("mBERT and one student, one short input, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file and its picture go."))


def plan_of(args: Arguments) -> Plan:
    """What the flags ask for; InputError where it cannot be measured."""
    if not args.minutes > 0:
        raise InputError(f"--minutes {args.minutes}: expected a number above 0")
    if any(count < 1 for count in args.threads):
        raise InputError(f"--threads {min(args.threads)}: expected at least 1")
    device = chosen_device(args.device)
    threads = args.threads or sorted({1, all_threads()} if device.type == "cpu" else {all_threads()})
    batches, lengths = GRIDS[args.grid]
    models, seconds = args.model or default_names(), 60 * args.minutes
    if args.quick:
        models = args.model or [MBERT, student_name(MBERT, 2, 30_000)]
        batches, lengths, threads, seconds = [1], [32], threads[-1:], min(seconds, 20.0)
    settings = [(engine, dtype) for dtype in args.dtype for engine in [*args.engine, *["compile"] * args.compile]]
    text: list[list[str]] = []
    cases = [Case(batch, length, count) for count in threads for batch in batches for length in lengths]
    if args.text_file:
        text = sentences(Path(args.text_file), batches[-1])
        cases = [Case(batches[-1], None, count) for count in threads]
    check_models(models, max(lengths), tokenizers=bool(text))
    return Plan(models, settings, cases, device, seconds, text=text, max_length=max(lengths), seed=args.seed)


def sentences(path: Path, batch: int) -> list[list[str]]:
    """The file's first texts in batches."""
    texts = list(islice(read_texts(path, "text", "--text_file"), TEXT_BATCHES * batch))
    if not texts:
        raise InputError(f"--text_file {path}: holds no text")
    return [texts[start : start + batch] for start in range(0, len(texts), batch)]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def run(args: Arguments) -> None:
    """Measure, record, show."""
    plan = plan_of(args)
    cases = len(plan.settings) * len(plan.cases)
    seeds = {"turns": args.seed, "weights and tokens": 0}
    result = ResultFile(Path(args.output_dir), "latency", plan.device, asdict(args), seeds)
    slow_start = {engine for engine, _ in plan.settings} - {"eager", "int8"}
    beside = f"; preparing {', '.join(sorted(slow_start))} comes on top" if slow_start else ""
    minutes = estimated_seconds(plan) / 60
    print(f"{len(plan.names())} models, {cases} cases: about {minutes:.1f} minutes{beside}", flush=True)
    with shown(result, latency_grids, latency_plots) as tell:
        measure(plan, result.content, tell, result.save)
