"""Tokens/s, MFU and peak memory of a phase-1 training step, against its floor and the published way in plain PyTorch.

First forward and backward alone, then the whole step with its update under each ZeRO stage and number of ranks.
Ratios come from one run, round by round. Absolute numbers mean little on a machine that does other things too.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.benchmarking.command import console
from bistil_ds.benchmarking.result_file import ResultFile
from bistil_ds.benchmarking.steps import Shape, random_steps
from bistil_ds.benchmarking.teachers import VARIANTS
from bistil_ds.benchmarking.throughput import compare_costs, compare_teachers, compare_ways, throughput_grids
from bistil_ds.benchmarking.zero_throughput import compare_under_zero
from bistil_ds.student import build_student

RESULTS = Path(__file__).parent / "results"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512], help="tokens in a sequence")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--batch", type=int, default=8, help="sequences in a batch")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    stages = [0, 1, 2, 3]
    parser.add_argument(
        "--zero",
        type=int,
        nargs="*",
        choices=stages,
        default=stages,
        help="ZeRO stages, at the first length; none: off",
    )
    parser.add_argument("--ranks", type=int, nargs="+", help="ranks under ZeRO; default: 1 and 2, or all GPUs")
    parser.add_argument("--no_memory", action="store_true", help="time only")
    parser.add_argument("--teachers", nargs="*", choices=VARIANTS, default=[], help="cheaper teachers to measure too")
    parser.add_argument("--teacher_model", help="real model for what a cheaper teacher costs; else random weights")
    parser.add_argument("--text_file", type=Path, help="text for that; needs --teacher_model")
    parser.add_argument("--quick", action="store_true", help="a small model, one length, under a minute")
    parser.add_argument("--output_dir", type=Path, default=RESULTS)
    args = parser.parse_args()
    if bool(args.teacher_model) != bool(args.text_file):
        parser.error("--teacher_model and --text_file go together")
    if wrong := [name for name in ("rounds", "batch") if getattr(args, name) < 1]:
        parser.error(f"--{wrong[0]} {getattr(args, wrong[0])}: expected at least 1")
    places = torch.cuda.device_count() if args.device == "cuda" else torch.get_num_threads()
    args.ranks = args.ranks or sorted({1, places if args.device == "cuda" else 2})
    if args.zero and not 1 <= min(args.ranks) <= max(args.ranks) <= places:
        parser.error(f"--ranks {' '.join(map(str, args.ranks))}: this machine has room for 1 to {places}")
    return args


def main() -> None:
    """Measure, print, record."""
    args = parse()
    terminal, device = console(), torch.device(args.device)
    shapes = [Shape(length, args.batch) for length in args.lengths]
    if args.quick:
        shapes, args.rounds = [Shape(64, 4, layers=4, width=128, heads=4, vocabulary=2000)], 3
        args.zero, args.ranks = args.zero[-2:-1], args.ranks[:1]
    arguments = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    result = ResultFile(args.output_dir, "throughput", device, arguments, {"weights and tokens": 0})
    result.content["shapes"] = [asdict(shape) for shape in shapes]

    def add(table: str, ways: dict[str, dict[str, Any]]) -> None:
        result.content["rows"] += [{"table": table, "way": name, **row} for name, row in ways.items()]

    with result, Progress(console=terminal) as progress:
        for shape in shapes:
            add(f"length {shape.length}", compare_ways(shape, args.rounds, device, not args.no_memory, progress))
            if args.teachers:
                rows = compare_teachers(args.teachers, shape, args.rounds, device, progress)
                add(f"our step with a cheaper teacher, length {shape.length}", rows)
        task = progress.add_task("under ZeRO", total=len(args.zero) * len(args.ranks))
        for stage, ranks in product(args.zero, args.ranks):
            ways = compare_under_zero(stage, ranks, shapes[0], args.rounds, device)
            named = {f"ZeRO-{stage}, {ranks} rank{'s' * (ranks > 1)}: {way}": row for way, row in ways.items()}
            add(f"the whole step under ZeRO, length {shapes[0].length}", named)
            progress.advance(task)
        if args.teachers:
            models = "real model" if args.teacher_model else "random weights"
            add(f"change in the loss, {models}", costs(args, shapes[0], device))
    for grid in throughput_grids(result.content):
        terminal.print(grid.rich())
    terminal.print("written to", result.path)


def costs(args: argparse.Namespace, shape: Shape, device: torch.device) -> dict[str, dict[str, float]]:
    """On a real model and text where given, else on random weights and tokens."""
    if not args.teacher_model:
        steps = random_steps(shape, device)
        return compare_costs(args.teachers, steps.student, steps.layer_map, steps.teacher, steps.inputs)
    teacher = AutoModelForMaskedLM.from_pretrained(args.teacher_model).to(device)
    tokenizer = AutoTokenizer.from_pretrained(args.teacher_model)
    with open(args.text_file, encoding="utf-8") as lines:
        text = list(islice((line for line in lines if line.strip()), args.batch))
    inputs = tokenizer(text, truncation=True, max_length=128, padding=True, return_tensors="pt").to(device)
    built = build_student(teacher)
    batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return compare_costs(args.teachers, built.student.train(), list(built.layer_map), teacher, batch)


if __name__ == "__main__":
    main()
