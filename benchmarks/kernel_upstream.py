"""What `hidden_state_loss` gains on a CPU when it is told the upstream gradient of its values beforehand.

`python benchmarks/kernel_upstream.py` takes minutes and writes benchmarks/results/kernel_upstream.json. It measures
forward and backward of the mean over P pairs, with `upstream=1/P` and without. Each round runs both, and a second
"without", whose ratio to the first is the noise. Seconds are CPU seconds of the process, which other programs disturb
little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from bistil_kernels import hidden_state_loss
from torch import Tensor

RESULTS = Path(__file__).parent / "results"
PAIRS = 7  # mBERT at layer reduction factor 2
CASES = (
    ("mse", torch.float32, (8, 256, 768)),
    ("mse", torch.float32, (8, 128, 768)),
    ("mse", torch.float32, (8, 128, 384)),
    ("mse", torch.float32, (16, 256, 768)),
    ("mse", torch.bfloat16, (8, 256, 768)),
    ("cosine", torch.float32, (8, 256, 768)),
)
WAYS = {"told": 1 / PAIRS, "not told": 1.0, "not told again": 1.0}
ROUNDS = (12, 300)  # fewest and most


def main() -> None:
    """Measure every case, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="to spend on a case, about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output_dir", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for kind, dtype, shape in CASES:
        rows.append(measure(kind, dtype, shape, args.seconds))
        print(json.dumps(rows[-1]))
    record = {"torch": torch.__version__, "threads": args.threads, "processors": os.cpu_count(), "pairs": PAIRS}
    args.output_dir.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**record, "load_average": os.getloadavg(), "rows": rows}, indent=1)
    (args.output_dir / "kernel_upstream.json").write_text(text + "\n")


def measure(kind: str, dtype: torch.dtype, shape: tuple[int, int, int], budget: float) -> dict[str, Any]:
    """One row: the median of the seconds told beforehand, and ratios to it."""
    torch.manual_seed(0)
    student = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(PAIRS)]
    teacher = [torch.randn(shape, dtype=dtype) for _ in range(PAIRS)]

    def step(upstream: float) -> Sequence[Tensor]:
        values = hidden_state_loss(student, teacher, None, kind=kind, upstream=upstream)
        return torch.autograd.grad(values.mean(), student)

    seconds = rounds(step, budget)
    found: dict[str, Any] = {"kind": kind, "dtype": str(dtype).removeprefix("torch."), "shape": list(shape)}
    found |= {"rounds": len(seconds["told"]), "cpu_seconds_told": round(statistics.median(seconds["told"]), 6)}
    found["not_told_over_told"] = ratio(seconds["not told"], seconds["told"])
    found["noise"] = ratio(seconds["not told again"], seconds["not told"])
    return found


def rounds(step: Callable[[float], object], budget: float) -> dict[str, list[float]]:
    """CPU seconds of each way in each round, which begins with the next way each time; the first does not count."""
    names, begun = list(WAYS), time.perf_counter()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS[1] + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            before = time.process_time()
            step(WAYS[name])
            if number:
                seconds[name].append(time.process_time() - before)
        if number >= ROUNDS[0] and time.perf_counter() - begun > budget:
            break
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """The median of the rounds' ratios, and its 95 % interval by resampling them."""
    found, draw = [a / b for a, b in zip(above, below)], random.Random(0)
    medians = sorted(statistics.median(draw.choices(found, k=len(found))) for _ in range(2000))
    return {"median": round(statistics.median(found), 3), "low": round(medians[50], 3), "high": round(medians[1949], 3)}


if __name__ == "__main__":
    main()
