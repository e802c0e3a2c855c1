"""Which results a report shows: the newest of each benchmark, machine and choice of flags, and how each is drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.energy.tables import energy_grids, energy_plots
from bistil_ds.benchmarking.flops.count import flops_grids
from bistil_ds.benchmarking.harness.plots import Plot
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.benchmarking.harness.tables import Grid
from bistil_ds.benchmarking.kernels.files import summary
from bistil_ds.benchmarking.latency.plots import latency_plots
from bistil_ds.benchmarking.latency.tables import latency_grids
from bistil_ds.benchmarking.memory.tables import memory_grids, memory_plots
from bistil_ds.benchmarking.report.quality import is_evaluation, quality_grids, quality_plots
from bistil_ds.benchmarking.scaling.compute import scaling_grids
from bistil_ds.benchmarking.training_step.measure import throughput_grids
from bistil_ds.benchmarking.training_step.sparse import sparse_grids
from bistil_ds.errors import InputError

Content = Mapping[str, Any]
QUALITY = "quality"
SAME_RUN = ("seed", "minutes", "rounds", "seconds", "output_dir")
TIME = re.compile(r"-\d{8}-\d{6}$")


@dataclass(frozen=True)
class Chapter:
    """How the results of one benchmark are shown."""

    title: str
    grids: Callable[[Content], Sequence[Grid]]
    plots: Callable[[Content], Sequence[Plot]] = lambda content: []


CHAPTERS = {
    QUALITY: Chapter("Quality", quality_grids, quality_plots),
    "latency": Chapter("Latency", latency_grids, latency_plots),
    "memory": Chapter("Memory", memory_grids, memory_plots),
    "energy": Chapter("Energy", energy_grids, energy_plots),
    "flops": Chapter("Operations", flops_grids),
    "scaling": Chapter("Scaling", scaling_grids),
    "throughput": Chapter("A training step", throughput_grids),
    "sparse_stage": Chapter("The sparse stage", sparse_grids),
    "kernels": Chapter("Kernels", lambda content: [summary(content["rows"])]),
}


@dataclass(frozen=True)
class Gathered:
    """One result file."""

    path: Path
    benchmark: str
    content: Content

    @property
    def chapter(self) -> Chapter:
        """How it is shown."""
        return CHAPTERS[self.benchmark]


def gather(folder: Path, *, quick: bool = False) -> tuple[list[Gathered], list[str]]:
    """The newest results in `folder`, in the order of the chapters; and what was left out.

    One replaces another of the same benchmark, machine and flags; a seed or a time allowed makes no other.

    Args:
        quick: also results of quick runs.

    Raises:
        InputError: there is no such folder, or nothing to show in it.
    """
    if not folder.is_dir():
        raise InputError(f"--results {folder}: there is no such folder; run a benchmark first, or give its folder")
    newest: dict[tuple[str, str, str], Gathered] = {}
    left_out = []
    for path in sorted(folder.glob("*.json"), key=_age):
        found = read(path)
        if found is None:
            left_out.append(f"{path.name}: not a result that is drawn here")
        elif found.content.get("arguments", {}).get("quick") and not quick:
            left_out.append(f"{path.name}: a quick run")
        else:
            flags = {k: v for k, v in found.content.get("arguments", {}).items() if k not in SAME_RUN}
            key = (found.benchmark, TIME.sub("", path.stem), json.dumps(flags, sort_keys=True))
            if key in newest:
                left_out.append(f"{newest[key].path.name}: there is a newer one")
            newest[key] = found
    if not newest:
        raise InputError(f"--results {folder}: holds no result to show; run benchmarks/latency.py first")
    order = list(CHAPTERS)
    return sorted(newest.values(), key=lambda each: (order.index(each.benchmark), each.path.name)), left_out


def read(path: Path) -> Gathered | None:
    """A result of ours or of `evaluate.py`; None for any other JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(content, dict) and is_evaluation(content):
        return Gathered(path, QUALITY, content)
    try:
        found = Gathered(path, content["benchmark"], read_result(path))
        found.chapter.grids(found.content)
    except (InputError, KeyError, TypeError, IndexError, AttributeError, ValueError):  # of another time or hand
        return None
    return found


def _age(path: Path) -> tuple[str, str]:
    """Sorts by the time in the name; a name without one is its own newest."""
    found = TIME.search(path.stem)
    return (found[0] if found else "", path.name)
