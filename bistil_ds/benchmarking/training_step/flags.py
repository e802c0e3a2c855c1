"""Define the flags of the throughput benchmark, and plan its run.

First, forward and backward are measured without the optimizer's update. Then the whole step is measured under each ZeRO
stage, on each number of ranks. Ratios are taken within a round, because absolute numbers mean little on a machine that
runs other programs too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.harness.benchmark import Job, Tell, parts_of
from bistil_ds.benchmarking.harness.command import choose_device, explain, require_at_least_1
from bistil_ds.benchmarking.harness.machine_state import all_threads
from bistil_ds.benchmarking.harness.own_process import blame_flag
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.models.shapes import MMTS, NEWER
from bistil_ds.benchmarking.training_step.measure import compare_costs, compare_teachers, compare_ways
from bistil_ds.benchmarking.training_step.teachers import VARIANTS
from bistil_ds.benchmarking.training_step.ways import Shape, random_steps
from bistil_ds.benchmarking.training_step.zero import compare_under_zero
from bistil_ds.errors import InputError
from bistil_ds.models.loading import load_teacher
from bistil_ds.student import build_student
from bistil_ds.text.corpus import corpus_texts
from bistil_ds.text.options import NO_FLAG, TextOptions

STAGES = (0, 1, 2, 3)
SHAPES = (*MMTS, *NEWER)
Pair = tuple[Any, list[int], Any, dict[str, torch.Tensor]]  # student, layer map, teacher, inputs


@dataclass
class Flags:
    """Flags of the throughput benchmark."""

    lengths: list[int] = field(default_factory=lambda: [128, 256, 512], metadata=explain("Tokens in a sequence."))
    rounds: int = field(default=5, metadata=explain("Rounds that count."))
    shapes: list[str] = field(
        default_factory=list, metadata=explain("Trimmed MMTs to measure; default: mBERT.", SHAPES)
    )
    batch: int = field(default=8, metadata=explain("Sequences in a batch."))
    device: str | None = field(default=None, metadata=explain("cpu or cuda; a GPU where there is one."))
    zero: list[int] = field(
        default_factory=lambda: list(STAGES), metadata=explain("ZeRO stages, at the first length.", STAGES)
    )
    ranks: list[int] = field(default_factory=list, metadata=explain("Ranks under ZeRO; 1 and 2, or 1 and all GPUs."))
    no_zero: bool = field(default=False, metadata=explain("Forward and backward alone."))
    no_memory: bool = field(default=False, metadata=explain("Time only, before ZeRO."))
    teachers: list[str] = field(default_factory=list, metadata=explain("Cheaper teachers to measure too.", VARIANTS))
    teacher_model: str | None = field(
        default=None, metadata=explain("Real model for what --teachers cost; else random weights.")
    )
    text_file: str | None = field(default=None, metadata=explain("Text for --teacher_model."))
    quick: bool = field(default=False, metadata=explain("A small model, one length, under a minute."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file goes."))


def check_flags(flags: Flags) -> torch.device:
    """Check the flags, fill in `ranks` and return the device; raise InputError if a flag cannot be used."""
    require_at_least_1(flags, "rounds", "batch")
    if min(flags.lengths) < 1:
        raise InputError(f"--lengths {min(flags.lengths)}: expected at least 1")
    if bool(flags.teacher_model) != bool(flags.text_file) or (flags.teacher_model and not flags.teachers):
        raise InputError("--teacher_model, --text_file and --teachers go together")
    device = choose_device(flags.device)
    places = torch.cuda.device_count() if device.type == "cuda" else all_threads()
    flags.ranks = flags.ranks or sorted({1, places if device.type == "cuda" else min(2, places)})
    if not flags.no_zero and not 1 <= min(flags.ranks) <= max(flags.ranks) <= places:
        raise InputError(f"--ranks {' '.join(map(str, flags.ranks))}: this machine has room for 1 to {places}")
    return device


def plan(flags: Flags) -> Job:
    """Check the flags, load the model of --teacher_model if there is one, and plan the run."""
    device = check_flags(flags)
    shapes = [Shape(length, flags.batch, mmt=mmt) for mmt in (flags.shapes or (None,)) for length in flags.lengths]
    zero = [] if flags.no_zero else list(product(flags.zero, flags.ranks))
    if flags.quick:
        shapes, flags.rounds = [Shape(64, 4, layers=4, width=128, heads=4, vocabulary=2000)], 3
        zero = [] if flags.no_zero else [(2, 1)]
    real = real_pair(flags, device)

    def measure(result: ResultFile, tell: Tell) -> None:
        result.content["shapes"] = [asdict(shape) for shape in shapes]
        parts = iter(parts_of(tell, len(shapes) * (1 + bool(flags.teachers)) + len(zero)))

        def add(table: str, ways: dict[str, dict[str, Any]]) -> None:
            result.content["rows"] += [{"table": table, "way": name, **row} for name, row in ways.items()]
            result.save()

        for shape in shapes:
            rows = compare_ways(shape, flags.rounds, device, not flags.no_memory, next(parts))
            add(_called(shape), rows)
            if flags.teachers:
                rows = compare_teachers(flags.teachers, shape, flags.rounds, device, next(parts))
                add(f"our step with a cheaper teacher, {_called(shape)}", rows)
        for stage, ranks in zero:
            label = f"ZeRO-{stage}, {ranks} rank{'s' * (ranks > 1)}"
            next(parts)(0.0, label)
            with blame_flag(f"--zero {stage}, --ranks {ranks}"):
                ways = compare_under_zero(stage, ranks, shapes[0], flags.rounds, device)
            named = {f"{label}: {way}": row for way, row in ways.items()}
            add(f"the whole step under ZeRO, {_called(shapes[0])}", named)
        if flags.teachers:
            costs = compare_costs(flags.teachers, *(real or random_pair(shapes[0], device)))
            add(f"change in the loss, {'real model' if real else 'random weights'}", costs)

    return Job(device, measure, seeds={"weights and tokens": 0})


def _called(shape: Shape) -> str:
    """Return how the titles of tables name a shape, such as `mmBERT-base, length 128`."""
    return f"{shape.mmt}, length {shape.length}" if shape.mmt else f"length {shape.length}"


def random_pair(shape: Shape, device: torch.device) -> Pair:
    """Return student, layer map, teacher and inputs, with random weights and tokens."""
    steps = random_steps(shape, device)
    return steps.student, steps.layer_map, steps.teacher, steps.inputs


def real_pair(flags: Flags, device: torch.device) -> Pair | None:
    """Return the student built from --teacher_model, its layer map, the teacher and real text; None without a model."""
    if flags.teacher_model is None or flags.text_file is None:
        return None
    text = list(corpus_texts(Path(flags.text_file), TextOptions("--text_file", advice=NO_FLAG), flags.batch))
    if not text:
        raise InputError(f"--text_file {flags.text_file}: holds no text")
    teacher, tokenizer = load_teacher(flags.teacher_model, "--teacher_model")
    teacher.to(device)
    inputs = tokenizer(text, truncation=True, max_length=128, padding=True, return_tensors="pt").to(device)
    built = build_student(teacher)
    batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    return built.student.train(), list(built.layer_map), teacher, batch
