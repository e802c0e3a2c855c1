"""The sparse stage beside dense fine-tuning, per second and per byte, on a student of mBERT's width.

Random weights and tokens: time, memory and bytes depend on sizes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bistil_ds import cli
from bistil_ds.benchmarking.harness.command import chosen_device, parsed, shown, told
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.training_step.sparse import StudentShape, measure, sparse_grids
from bistil_ds.errors import InputError
from bistil_ds.sparse import SparseArguments


@dataclass
class Arguments:
    """The command's flags."""

    densities: list[float] = field(
        default_factory=lambda: [0.01, 0.043, 0.08], metadata=told("Shares of the base model that train.")
    )
    batch: int = field(default=8, metadata=told("Sequences in a batch."))
    length: int = field(default=128, metadata=told("Tokens in a sequence."))
    rounds: int = field(default=7, metadata=told("Rounds that count; each runs every way once."))
    device: str | None = field(default=None, metadata=told("cpu or cuda; a GPU where there is one."))
    quick: bool = field(default=False, metadata=told("A narrow model and a short input, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file goes."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def run(args: Arguments) -> None:
    """Measure, record, show."""
    for name in ("batch", "length", "rounds"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    for density in args.densities:
        SparseArguments(density=density).check(maskable=1)
    shape = StudentShape(args.batch, args.length)
    if args.quick:
        args.batch, args.length, args.rounds = 2, 32, 3
        shape = StudentShape(args.batch, args.length, layers=2, width=128, heads=2, vocabulary=2000)
    device = chosen_device(args.device)
    result = ResultFile(Path(args.output_dir), "sparse_stage", device, asdict(args), {"seed": 0})
    result.content["shape"] = asdict(shape)
    with shown(result, sparse_grids) as tell:
        measure(shape, args.densities, args.rounds, device, result.content["rows"], tell)
