"""Choose the records that a report shows: the newest of each benchmark, machine and choice of flags."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Benchmark, Content
from bistil_ds.benchmarking.harness.plots import check_numbers
from bistil_ds.benchmarking.harness.result_file import DAMAGED, read_result
from bistil_ds.benchmarking.registry import BENCHMARKS
from bistil_ds.errors import InputError

# flags that may differ between a record and the newer record that replaces it
SAME_RUN = ("seed", "minutes", "rounds", "seconds", "output_dir")
TIME = re.compile(r"-\d{8}(-\d{6})?$")  # at the end of a record's name


@dataclass(frozen=True)
class Gathered:
    """One record of a benchmark, and its file."""

    path: Path
    benchmark: str
    content: Content

    @property
    def entry(self) -> Benchmark:
        """Return the registry's entry, which says how the record is shown."""
        return BENCHMARKS[self.benchmark]

    @property
    def is_quick(self) -> bool:
        """Return whether the record is of a quick run."""
        return bool(self.content.get("arguments", {}).get("quick"))

    def flags(self) -> dict[str, Any]:
        """Return the flags that an older record must share with this one to be replaced by it."""
        return {name: value for name, value in self.content.get("arguments", {}).items() if name not in SAME_RUN}

    def about(self) -> str:
        """Return a line: file, machine, torch version, commit, and whether it is interrupted or quick."""
        hardware, versions = self.content.get("hardware") or {}, self.content.get("versions") or {}
        gpus = ", ".join(gpu["name"] for gpu in hardware.get("gpus") or [])
        device = str(self.content.get("device", ""))
        machine = gpus if device.startswith("cuda") else f"{hardware.get('cpu')}, {hardware.get('threads')} threads"
        facts = [self.path.name, machine if hardware else "", _commit(self.content.get("git"))]
        facts[2:2] = [f"torch {versions['torch']}"] if "torch" in versions else []
        if self.content.get("interrupted"):
            facts.append("interrupted: what was measured until then")
        if self.is_quick:
            facts.append("a quick run")
        return "; ".join(fact for fact in facts if fact)


def gather(folder: Path, *, quick: bool = False) -> tuple[list[Gathered], list[str]]:
    """Return the newest records in `folder`, in the order of the registry, and a line for each file that is left out.

    A record replaces an older one of the same benchmark, machine and flags. Flags in SAME_RUN, such as the seed, may
    differ.

    Args:
        quick: whether to return records of quick runs too.

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
        elif found.is_quick and not quick:
            left_out.append(f"{path.name}: a quick run")
        else:
            key = (found.benchmark, TIME.sub("", path.stem), json.dumps(found.flags(), sort_keys=True))
            if key in newest:
                left_out.append(f"{newest[key].path.name}: there is a newer one")
            newest[key] = found
    if not newest:
        raise InputError(f"--results {folder}: holds no result to show; run benchmarks/latency.py first")
    order = list(BENCHMARKS)
    return sorted(newest.values(), key=lambda each: (order.index(each.benchmark), each.path.name)), left_out


def read(path: Path) -> Gathered | None:
    """Read a record of any benchmark, or an `evaluation.json` of `evaluate.py`; return None for any other JSON."""
    try:
        content = read_result(path)
        found = Gathered(path, content["benchmark"], content)
        found.about()
        json.dumps(found.flags(), sort_keys=True)
        for grid in found.entry.tables(found.content):
            grid.html()
        for plot in found.entry.plots(found.content):
            check_numbers(plot)
    except DAMAGED:  # a record of an old version, a part of a record, or a file of something else
        return None
    return found


def _commit(git: dict[str, Any] | None) -> str:
    return f"commit {git['commit'][:10]}{' with changes' if git['dirty'] else ''}" if git else ""


def _age(path: Path) -> tuple[str, str]:
    """Return a sort key: the time in the file's name, then the name. A name without a time counts as oldest."""
    found = TIME.search(path.stem)
    return (found[0] if found else "", path.name)
