"""Sample the memory of a run's processes, and fit how it grows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import psutil
from scipy import stats

PERIOD = 10.0  # seconds between two samples
MIB = 1024  # kB, in which Linux counts
CONFIDENCE = 0.95


class Sampler:
    """Appends a line of JSON to a file every `PERIOD` seconds: time, life, and MiB of each rank and of all processes.

    A page that several processes share counts in equal parts for each (PSS). `anonymous` leaves out pages of files.

    Args:
        file: where the lines go.
        life: number of the life that is sampled.
    """

    def __init__(self, file: Path, life: int) -> None:
        self.file, self.life, self._due = file, life, 0.0

    def __call__(self, running: Mapping[int, int]) -> None:
        """Sample the processes of the ranks, process → rank, and of this process with all that it has started."""
        now = time.time()
        if now < self._due:
            return
        self._due = now + PERIOD
        try:
            ranks = [_memory(process) for process, rank in sorted(running.items(), key=lambda item: item[1])]
            own = psutil.Process()
            everyone = [_memory(one.pid) for one in (own, *own.children(recursive=True))]
        except (OSError, KeyError):  # a process has just ended
            return
        row = {
            "time": round(now, 1),
            "life": self.life,
            "ranks": [round(all_of_it / MIB, 1) for all_of_it, _ in ranks],
            "anonymous": [round(anonymous / MIB, 1) for _, anonymous in ranks],
            "tree": round(sum(all_of_it for all_of_it, _ in everyone) / MIB, 1),
        }
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _memory(process: int) -> tuple[int, int]:
    """Return the kB of a process, and those that belong to no file."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    values = {words[0]: int(words[1]) for words in map(str.split, lines[1:])}
    return values["Pss:"], values["Pss_Anon:"]


def read_samples(file: Path, ranks: int) -> list[dict[str, Any]]:
    """Return the samples of a file that were taken while all ranks ran."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if len(row["ranks"]) == ranks]


def series(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return name → MiB at each sample: of each rank, of its pages that belong to no file, and of the whole tree."""
    found = {"tree": [row["tree"] for row in rows]}
    for rank in range(len(rows[0]["ranks"])):
        found[f"rank {rank}"] = [row["ranks"][rank] for row in rows]
        found[f"rank {rank}, without files"] = [row["anonymous"][rank] for row in rows]
    return found


def blocks(times: Sequence[float], values: Sequence[float], seconds: float) -> tuple[list[float], list[float]]:
    """Return the mean times and values of blocks of so many seconds, since neighbouring samples are hardly apart."""
    number = [int((one - times[0]) // seconds) for one in times]
    groups = [[n for n, block in enumerate(number) if block == one] for one in sorted(set(number))]
    return [float(numpy.mean([times[n] for n in group])) for group in groups], [
        float(numpy.mean([values[n] for n in group])) for group in groups
    ]


def growth(times: Sequence[float], values: Sequence[float]) -> dict[str, float | int] | None:
    """Fit a line through values in MiB at times in seconds; None for fewer than three.

    Returns:
        MiB an hour with the ends of their 95 % interval, the mean in MiB, and the number of points.
    """
    if len(times) < 3:
        return None
    hours = (numpy.asarray(times) - times[0]) / 3600
    fit = stats.linregress(hours, values)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(times) - 2) * fit.stderr)
    slope = float(fit.slope)
    ends = {"low": slope - reach, "high": slope + reach}
    return {"mib_an_hour": slope, **ends, "mean_mib": float(numpy.mean(values)), "points": len(times)}


def growth_within(rows: Sequence[Mapping[str, Any]], warm_up: float, block: float) -> dict[str, Any]:
    """Return name → growth over blocks of `block` seconds of one life, without its first `warm_up` seconds."""
    rows = [row for row in rows if row["time"] >= rows[0]["time"] + warm_up]
    times = [row["time"] for row in rows]
    return {name: growth(*blocks(times, values, block)) for name, values in series(rows).items()} if rows else {}


def growth_between(rows: Sequence[Mapping[str, Any]], warm_up: float) -> dict[str, Any]:
    """Return name → growth over lives: each counts by its median, without its first `warm_up` seconds."""
    points: dict[str, tuple[list[float], list[float]]] = {}
    for life in sorted({row["life"] for row in rows}):
        own = [row for row in rows if row["life"] == life]
        own = [row for row in own if row["time"] >= own[0]["time"] + warm_up]
        for name, values in series(own).items() if own else ():
            times, medians = points.setdefault(name, ([], []))
            times.append(math.fsum(row["time"] for row in own) / len(own))
            medians.append(float(numpy.median(values)))
    return {name: growth(*pair) for name, pair in points.items()}
