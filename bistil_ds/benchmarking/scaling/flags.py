"""What phase 1 needs on 1 to 1,024 GPUs, for XLM-R base to XXL: memory of each GPU and bytes each sends, by ZeRO stage.

Computed from shapes, DeepSpeed's own estimators and byte counts of collectives; checked on 1 and 2 ranks of this
machine, with the error stated. Seconds only with --tflops, --mfu and --bandwidth_gb, and said to be assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from bistil_ds import cli, engine
from bistil_ds.benchmarking.harness.command import parsed, shown, told
from bistil_ds.benchmarking.harness.own_process import RemoteError
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.models.shapes import LARGE, XLMR
from bistil_ds.benchmarking.scaling.compute import Speed, scaling_grids, scaling_rows
from bistil_ds.benchmarking.scaling.zero_check import SMALL, check
from bistil_ds.errors import InputError

TEACHERS = (XLMR, *LARGE)
CHECKS = [(stage, ranks, width) for ranks, width in ((1, 512), (2, 512), (2, 256)) for stage in (0, 1, 2, 3)]


@dataclass
class Arguments:
    """The command's flags."""

    teacher: list[str] = field(default_factory=lambda: list(TEACHERS), metadata=told("Teachers.", TEACHERS))
    gpus: list[int] = field(default_factory=lambda: [1, 8, 64, 256, 1024], metadata=told("Numbers of GPUs."))
    batch: int = field(default=8, metadata=told("Sequences a GPU."))
    length: int = field(default=256, metadata=told("Tokens in a sequence."))
    tflops: float | None = field(default=None, metadata=told("A GPU's bf16 rate, in TFLOP/s, for seconds."))
    mfu: float | None = field(default=None, metadata=told("The share of it that is reached, such as 0.4."))
    bandwidth_gb: float | None = field(default=None, metadata=told("GB/s a GPU sends."))
    quick: bool = field(default=False, metadata=told("XLM-R-base alone, no check."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file goes."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def speed_of(args: Arguments) -> Speed | None:
    """What the user says of a GPU; None where nothing is said."""
    given = {"tflops": args.tflops, "mfu": args.mfu, "bandwidth_gb": args.bandwidth_gb}
    if all(value is None for value in given.values()):
        return None
    for name, value in given.items():
        if value is None or not value > 0:
            raise InputError(f"--{name} {value}: seconds need --tflops, --mfu and --bandwidth_gb, each above 0")
    return Speed(1e12 * (args.tflops or 0), args.mfu or 0, 1e9 * (args.bandwidth_gb or 0))


def run(args: Arguments) -> None:
    """Compute, check, record, show."""
    for name in ("batch", "length"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    if wrong := [count for count in args.gpus if count < 1 or (count > 8 and count % 8)]:
        raise InputError(f"--gpus {wrong[0]}: expected 1 to 8, or whole nodes of 8")
    speed = speed_of(args)
    engine.choose_accelerator()
    teachers, checks = (TEACHERS[:1], []) if args.quick else (args.teacher, CHECKS)
    result = ResultFile(Path(args.output_dir), "scaling", torch.device("cpu"), asdict(args), {"weights and tokens": 0})
    rows, whole = result.content["rows"], len(teachers) + len(checks)
    with shown(result, scaling_grids) as tell:
        for number, teacher in enumerate(teachers):
            tell(number / whole, teacher)
            rows += scaling_rows(teacher, args.gpus, args.batch, args.length, speed)
        for number, (stage, ranks, width) in enumerate(checks, len(teachers)):
            tell(number / whole, f"measuring ZeRO-{stage} on {ranks} rank{'s' if ranks > 1 else ''}, width {width}")
            try:
                rows.append(check(stage, ranks, replace(SMALL, width=width)))
            except RemoteError as error:
                rows.append({"stage": stage, "ranks": ranks, "unavailable": str(error)})
            result.save()
