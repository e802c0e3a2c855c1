"""Define the flags of the latency benchmark, and plan its run.

Without --model and --quick the benchmark measures XLM-R-base and mBERT, their students (every second or third layer; a
vocabulary of 30k or 60k tokens), DistilmBERT and two multilingual MiniLMs. Only the shapes of these models matter;
their weights are random.

With --side_by_side the engines take turns too. Then a student in its best engine can be compared with the teacher in
its best engine, and with the teacher in plain PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bistil_ds.benchmarking.harness.benchmark import Job
from bistil_ds.benchmarking.harness.command import choose_device, explain
from bistil_ds.benchmarking.harness.machine_state import all_threads
from bistil_ds.benchmarking.harness.result_file import RESULTS
from bistil_ds.benchmarking.latency.estimate import estimate_seconds
from bistil_ds.benchmarking.latency.measure import measure
from bistil_ds.benchmarking.models.engines import ENGINES
from bistil_ds.benchmarking.models.plan import MeasurementPlan
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, student_name
from bistil_ds.benchmarking.models.subject import InputCase
from bistil_ds.errors import InputError

INPUTS = {"small": ([1, 8], [128]), "full": ([1, 8, 32], [32, 128, 512])}
DTYPES = ("float32", "bfloat16", "float16")
TEXT_BATCHES = 50  # most batches, of the largest size, that are read from --text_file


@dataclass
class Flags:
    """Flags of the latency benchmark."""

    model: list[str] = field(
        default_factory=list,
        metadata=explain("Names of ours, folders or hub ids; the first is the reference of unknown ones."),
    )
    grid: str = field(
        default="small",
        metadata=explain("small: batch 1, 8, length 128; full: batch 1, 8, 32, length 32, 128, 512.", INPUTS),
    )
    text_file: list[str] = field(
        default_factory=list,
        metadata=explain("Sentences, one a line; of several files in turn. Real lengths; the models need tokenizers."),
    )
    engine: list[str] = field(
        default_factory=lambda: ["eager"], metadata=explain(f"Any of {', '.join(ENGINES)}.", ENGINES)
    )
    compile: bool = field(default=False, metadata=explain("Measure torch.compile too."))
    side_by_side: bool = field(
        default=False,
        metadata=explain("Let the engines take turns too, to compare them; keeps every model in every engine loaded."),
    )
    dtype: list[str] = field(
        default_factory=lambda: ["float32"], metadata=explain(f"Any of {', '.join(DTYPES)}.", DTYPES)
    )
    threads: list[int] = field(default_factory=list, metadata=explain("CPU threads; 1 and all unless given."))
    device: str | None = field(default=None, metadata=explain("cpu or cuda; a GPU where there is one."))
    minutes: float = field(default=8.0, metadata=explain("Time for all, the models' starts included."))
    seed: int = field(default=0, metadata=explain("Of the order in which models take turns."))
    quick: bool = field(default=False, metadata=explain("mBERT and one student, one short input, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file and its picture go."))


def plan_of(flags: Flags) -> MeasurementPlan:
    """Return the plan that the flags ask for; raise InputError if it cannot be measured."""
    if not flags.minutes > 0:
        raise InputError(f"--minutes {flags.minutes}: expected a number above 0")
    if any(count < 1 for count in flags.threads):
        raise InputError(f"--threads {min(flags.threads)}: expected at least 1")
    device = choose_device(flags.device)
    threads = flags.threads or sorted({1, all_threads()} if device.type == "cpu" else {all_threads()})
    batches, lengths = INPUTS[flags.grid]
    models, seconds = flags.model or default_names(), 60 * flags.minutes
    if flags.quick:
        models = flags.model or [MBERT, student_name(MBERT, 2, 30_000)]
        batches, lengths, threads, seconds = [1], [32], threads[-1:], min(seconds, 20.0)
    settings = [(engine, dtype) for dtype in flags.dtype for engine in [*flags.engine, *["compile"] * flags.compile]]
    check_models(models, max(lengths), tokenizers=bool(flags.text_file))
    text = sentences(flags.text_file, batches[-1])
    cases = [
        InputCase(batch, length, count)
        for count in threads
        for batch in batches
        for length in ([None] if text else lengths)
    ]
    return MeasurementPlan(
        models,
        settings,
        cases,
        device,
        seconds,
        text=text,
        max_length=max(lengths),
        seed=flags.seed,
        side_by_side=flags.side_by_side,
    )


def sentences(paths: Sequence[str], batch: int) -> list[str]:
    """Return the files' first texts, one of each file in turn: TEXT_BATCHES batches of `batch`, less if a file ends.

    Raises:
        InputError: a file holds no text, or all of them hold less than one batch.
    """
    if not paths:
        return []
    from bistil_ds.text.corpus import corpus_texts  # the library datasets is needed for text only
    from bistil_ds.text.options import NO_FLAG, TextOptions

    options = TextOptions("--text_file", advice=NO_FLAG)
    columns = [list(corpus_texts(Path(path), options, TEXT_BATCHES * batch)) for path in paths]
    for path, texts in zip(paths, columns):
        if not texts:
            raise InputError(f"--text_file {path}: holds no text")
    found = [text for row in zip(*columns) for text in row][: TEXT_BATCHES * batch]
    if len(found) < batch:
        raise InputError(f"--text_file {' '.join(paths)}: {len(found)} texts, and a batch takes {batch}")
    return found


def plan(flags: Flags) -> Job:
    """Check the flags, plan the run and estimate how long it takes."""
    wanted = plan_of(flags)
    cases = len(wanted.settings) * len(wanted.cases)
    slow_start = {engine for engine, _ in wanted.settings} - {"eager", "int8"}
    beside = f"; preparing {', '.join(sorted(slow_start))} comes on top" if slow_start else ""
    minutes = estimate_seconds(wanted) / 60
    return Job(
        wanted.device,
        lambda result, tell: measure(wanted, result.content, tell, result.save),
        seeds={"turns": flags.seed, "weights and tokens": 0},
        announcement=f"{len(wanted.names())} models, {cases} cases: about {minutes:.1f} minutes{beside}",
    )
