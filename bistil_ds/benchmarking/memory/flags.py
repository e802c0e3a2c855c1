"""Memory of MMTs, their students and other small models: parameters, folder, load time, peaks.

Without --model: those of latency.py, by shape, with random weights. Models are measured one at a time, each stage in a
process of its own; what the libraries take is subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bistil_ds import cli
from bistil_ds.benchmarking.harness.command import chosen_device, parsed, shown, told
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.memory.measure import Input, measure
from bistil_ds.benchmarking.memory.tables import memory_grids, memory_plots
from bistil_ds.benchmarking.models.shapes import MBERT, check_models, default_names, student_name
from bistil_ds.errors import InputError


@dataclass
class Arguments:
    """The command's flags."""

    model: list[str] = field(
        default_factory=list, metadata=told("Names of ours, folders or hub ids; the first is the reference.")
    )
    batch: int = field(default=8, metadata=told("Sequences in a batch."))
    length: int = field(default=128, metadata=told("Tokens in a sequence."))
    dtype: str = field(default="float32", metadata=told("Of the weights.", ("float32", "bfloat16", "float16")))
    device: str | None = field(default=None, metadata=told("cpu or cuda; a GPU where there is one."))
    quick: bool = field(default=False, metadata=told("mBERT's students alone, a short input, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file and its picture go."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def run(args: Arguments) -> None:
    """Measure, record, show."""
    for name in ("batch", "length"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    models = args.model or default_names()
    if args.quick:
        models = args.model or [student_name(MBERT, k, 30_000) for k in (2, 3)]
        args.batch, args.length = 1, 32
    check_models(models, args.length)
    device = chosen_device(args.device)
    given = Input(args.batch, args.length, args.dtype, str(device))
    result = ResultFile(Path(args.output_dir), "memory", device, asdict(args), {"weights and tokens": 0})
    with shown(result, memory_grids, memory_plots) as tell:
        measure(models, given, result.content, tell, result.save)
