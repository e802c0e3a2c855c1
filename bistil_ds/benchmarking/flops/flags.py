"""Operations of MMTs, their students and other small models: a forward pass, and a phase-1 step with our losses.

Counted by torch.utils.flop_counter on models without weights, in seconds; our kernels have formulas of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bistil_ds import cli
from bistil_ds.benchmarking.flops.count import META, flops_grids, model_row
from bistil_ds.benchmarking.harness.command import parsed, shown, told
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
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
    quick: bool = field(default=False, metadata=told("mBERT and one student alone."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file goes."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def run(args: Arguments) -> None:
    """Count, record, show."""
    for name in ("batch", "length"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    models = args.model or ([MBERT, student_name(MBERT, 2, 30_000)] if args.quick else default_names())
    check_models(models, args.length)
    result = ResultFile(Path(args.output_dir), "flops", META, asdict(args))
    with shown(result, flops_grids) as tell:
        for number, name in enumerate(models):
            tell(number / len(models), name)
            result.content["rows"].append(model_row(name, models, args.batch, args.length))
