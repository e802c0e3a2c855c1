"""Compare two records of one benchmark: what changed, and what is inside the noise."""

from __future__ import annotations

from statistics import median

from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.benchmarking.harness.samples import Rounds, unpaired_ratio
from bistil_ds.benchmarking.models.rows import busy_note, ratio_text
from bistil_ds.benchmarking.registry import BENCHMARKS
from bistil_ds.console.grid import Grid
from bistil_ds.errors import InputError

SAME = ("device", "hardware", "versions", "threads")  # fields of a record; the note names those that differ


def compare(first: Content, second: Content) -> Grid:
    """Return a table with a line for each model and case in both records: the second record's value over the first's.

    Less is better. The interval is resampled from the rounds of both records; if a record has one round only, there is
    none. The verdict widens the interval by the noise of the case: |ratio − 1| of one model that ran twice. Each record
    has its own noise; the larger one is used.

    Raises:
        InputError: the records are of different benchmarks, or of one whose results cannot be compared, or have no
            model and case in common.
    """
    kind = first["benchmark"]
    if second["benchmark"] != kind:
        raise InputError(f"--compare: {kind} and {second['benchmark']} cannot be compared; give two files of one")
    values = BENCHMARKS[kind].values if kind in BENCHMARKS else None
    if values is None:
        compared = ", ".join(name for name, each in BENCHMARKS.items() if each.values)
        raise InputError(f"--compare: results of {kind} are not compared; give two of {compared}")
    ours, theirs = values(first), values(second)
    common = [key for key in ours if key in theirs]
    if not common:
        raise InputError("--compare: the two files have no model and case in common")
    columns = ["model", "case", "first", "second", "ratio, 95 %", ""]
    grid = Grid(f"{kind.capitalize()}: the second over the first", columns)
    spreads = []
    for model, case in common:
        (a, noise_a), (b, noise_b) = ours[model, case], theirs[model, case]
        spreads.append(max(noise_a, noise_b))
        ratio = unpaired_ratio(b, a)
        grid.rows.append([model, case, _middle(a), _middle(b), ratio_text(vars(ratio)), ratio.verdict(spreads[-1])])
    notes = [f"widened by up to {100 * max(spreads):.1f} %, the same model twice"] if any(spreads) else []
    notes += [f"{name} differ" for name in SAME if first.get(name) != second.get(name)]
    notes += [f"{which}{note}" for which, each in (("first", first), ("second", second)) if (note := busy_note(each))]
    missing = len(set(ours) ^ set(theirs))
    notes += [f"{missing} measurements are in one file only"] if missing else []
    grid.note = "; ".join(notes)
    return grid


def _middle(rounds: Rounds) -> str:
    return f"{median(median(one) for one in rounds):.4g}"
