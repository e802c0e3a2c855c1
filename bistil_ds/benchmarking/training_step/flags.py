"""Tokens/s, MFU and peak memory of a phase-1 training step, against its floor and the published way in plain PyTorch.

First forward and backward alone, then the whole step with its update under each ZeRO stage and number of ranks.
Ratios come from one run, round by round. Absolute numbers mean little on a machine that does other things too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds import cli
from bistil_ds.benchmarking.harness.command import chosen_device, console, parsed, told
from bistil_ds.benchmarking.harness.machine_state import all_threads
from bistil_ds.benchmarking.harness.own_process import blaming
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.training_step.measure import compare_costs, compare_teachers, compare_ways, throughput_grids
from bistil_ds.benchmarking.training_step.teachers import VARIANTS
from bistil_ds.benchmarking.training_step.ways import Shape, random_steps
from bistil_ds.benchmarking.training_step.zero import compare_under_zero
from bistil_ds.checks import cannot_load
from bistil_ds.corpora.text_files import read_texts
from bistil_ds.errors import InputError
from bistil_ds.student import build_student

STAGES = (0, 1, 2, 3)
Pair = tuple[Any, list[int], Any, dict[str, torch.Tensor]]  # student, layer map, teacher, inputs


@dataclass
class Arguments:
    """The command's flags."""

    lengths: list[int] = field(default_factory=lambda: [128, 256, 512], metadata=told("Tokens in a sequence."))
    rounds: int = field(default=5, metadata=told("Rounds that count."))
    batch: int = field(default=8, metadata=told("Sequences in a batch."))
    device: str | None = field(default=None, metadata=told("cpu or cuda; a GPU where there is one."))
    zero: list[int] = field(
        default_factory=lambda: list(STAGES), metadata=told("ZeRO stages, at the first length.", STAGES)
    )
    ranks: list[int] = field(default_factory=list, metadata=told("Ranks under ZeRO; 1 and 2, or 1 and all GPUs."))
    no_zero: bool = field(default=False, metadata=told("Forward and backward alone."))
    no_memory: bool = field(default=False, metadata=told("Time only, before ZeRO."))
    teachers: list[str] = field(default_factory=list, metadata=told("Cheaper teachers to measure too.", VARIANTS))
    teacher_model: str | None = field(
        default=None, metadata=told("Real model for what --teachers cost; else random weights.")
    )
    text_file: str | None = field(default=None, metadata=told("Text for --teacher_model."))
    quick: bool = field(default=False, metadata=told("A small model, one length, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=told("Where the result file goes."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return cli.run(lambda: run(parsed(argv, Arguments, __doc__ or "")))


def checked(args: Arguments) -> torch.device:
    """The device; InputError where the flags cannot be measured."""
    for name in ("rounds", "batch"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    if min(args.lengths) < 1:
        raise InputError(f"--lengths {min(args.lengths)}: expected at least 1")
    if bool(args.teacher_model) != bool(args.text_file) or (args.teacher_model and not args.teachers):
        raise InputError("--teacher_model, --text_file and --teachers go together")
    device = chosen_device(args.device)
    places = torch.cuda.device_count() if device.type == "cuda" else all_threads()
    args.ranks = args.ranks or sorted({1, places if device.type == "cuda" else min(2, places)})
    if not args.no_zero and not 1 <= min(args.ranks) <= max(args.ranks) <= places:
        raise InputError(f"--ranks {' '.join(map(str, args.ranks))}: this machine has room for 1 to {places}")
    return device


def run(args: Arguments) -> None:
    """Measure, record, show; what is done is kept and shown however it ends."""
    device = checked(args)
    shapes = [Shape(length, args.batch) for length in args.lengths]
    zero = [] if args.no_zero else list(product(args.zero, args.ranks))
    if args.quick:
        shapes, args.rounds = [Shape(64, 4, layers=4, width=128, heads=4, vocabulary=2000)], 3
        zero = [] if args.no_zero else [(2, 1)]
    real = real_pair(args, device)
    result = ResultFile(Path(args.output_dir), "throughput", device, asdict(args), {"weights and tokens": 0})
    result.content["shapes"] = [asdict(shape) for shape in shapes]
    terminal = console()

    def add(table: str, ways: dict[str, dict[str, Any]]) -> None:
        result.content["rows"] += [{"table": table, "way": name, **row} for name, row in ways.items()]
        result.save()

    try:
        with result, Progress(console=terminal) as progress:
            for shape in shapes:
                add(f"length {shape.length}", compare_ways(shape, args.rounds, device, not args.no_memory, progress))
                if args.teachers:
                    rows = compare_teachers(args.teachers, shape, args.rounds, device, progress)
                    add(f"our step with a cheaper teacher, length {shape.length}", rows)
            task = progress.add_task("under ZeRO", total=len(zero))
            for stage, ranks in zero:
                with blaming(f"--zero {stage}, --ranks {ranks}"):
                    ways = compare_under_zero(stage, ranks, shapes[0], args.rounds, device)
                named = {f"ZeRO-{stage}, {ranks} rank{'s' * (ranks > 1)}: {way}": row for way, row in ways.items()}
                add(f"the whole step under ZeRO, length {shapes[0].length}", named)
                progress.advance(task)
            if args.teachers:
                pair = real or random_pair(shapes[0], device)
                costs = compare_costs(args.teachers, *pair)
                add(f"change in the loss, {'real model' if real else 'random weights'}", costs)
    finally:
        for grid in throughput_grids(result.content):
            terminal.print(grid.rich())
        if result.path.is_file():
            terminal.print(f"result: {result.path}", soft_wrap=True)


def random_pair(shape: Shape, device: torch.device) -> Pair:
    """Random weights and tokens."""
    steps = random_steps(shape, device)
    return steps.student, steps.layer_map, steps.teacher, steps.inputs


def real_pair(args: Arguments, device: torch.device) -> Pair | None:
    """A real model, the student built from it, and real text; None where none is given."""
    if args.teacher_model is None or args.text_file is None:
        return None
    text = list(islice(read_texts(Path(args.text_file), "text", "--text_file"), args.batch))
    if not text:
        raise InputError(f"--text_file {args.text_file}: holds no text")
    try:
        teacher = AutoModelForMaskedLM.from_pretrained(args.teacher_model, trust_remote_code=False).to(device)
        tokenizer = AutoTokenizer.from_pretrained(args.teacher_model, trust_remote_code=False)
    except Exception as error:  # transformers, the hub and json have no common kind
        raise cannot_load("--teacher_model", args.teacher_model, error) from None
    inputs = tokenizer(text, truncation=True, max_length=128, padding=True, return_tensors="pt").to(device)
    built = build_student(teacher)
    batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return built.student.train(), list(built.layer_map), teacher, batch
