"""Let several ways of doing one thing take turns, and time them. A busy machine then slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass
class Way:
    """One way of doing a thing: `step` is timed; `prepare`, which runs before every step, is not."""

    step: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def time_in_turns(
    ways: Mapping[str, Way],
    rounds: int,
    device: torch.device,
    on_step: Callable[[], object] = lambda: None,
    clock: Callable[[Callable[[], object], torch.device], float] | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of each way in each of `rounds` rounds, by `clock` or else `time_call`.

    Every round runs every way once. A warm-up round comes first and is not counted. From each round to the next, the
    first way moves to the end of the order.
    """
    clock = clock or time_call
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            ways[name].prepare()
            elapsed = clock(ways[name].step, device)
            if round_:
                seconds[name].append(elapsed)
            on_step()
    return seconds


def time_call(step: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call: on CUDA the time between two events, elsewhere wall time.

    On CUDA the device has no work left when the call starts and when this function returns.
    """
    if device.type == "cuda":
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)  # `device` need not be the current one
        torch.cuda.synchronize(device)
        before.record(stream)
        step()
        after.record(stream)
        torch.cuda.synchronize(device)
        return before.elapsed_time(after) / 1000
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def paired_ratio(samples: Sequence[float], reference: Sequence[float]) -> float:
    """Divide each round's sample by the reference's of the same round; return the median of these ratios."""
    return statistics.median(a / b for a, b in zip(samples, reference))
