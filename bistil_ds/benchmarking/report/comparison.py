"""Two result files of one benchmark side by side: what changed, and what is inside the noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from bistil_ds.benchmarking.harness.samples import Rounds, unpaired_ratio
from bistil_ds.benchmarking.harness.tables import Grid
from bistil_ds.benchmarking.latency.measure import case_text
from bistil_ds.benchmarking.latency.tables import busy_note, case_of, noise, ratio_text
from bistil_ds.errors import InputError

Content = Mapping[str, Any]
Values = dict[tuple[str, str], tuple[Rounds, float]]  # (model, case) → samples, how far the same model twice differs
SAME = ("device", "hardware", "versions", "threads")


def compare(first: Content, second: Content) -> Grid:
    """The second over the first for everything both measured. The less of each, the better.

    The interval is resampled from the rounds of both files, and widened by how far the same model twice came out in
    that case in either. Where a file has one value only, nothing is known of its noise, and the table says so.

    Raises:
        InputError: they are of different benchmarks, of one that is not compared, or have nothing in common.
    """
    kind = first["benchmark"]
    if second["benchmark"] != kind:
        raise InputError(f"--compare: {kind} and {second['benchmark']} cannot be compared; give two files of one")
    if kind not in VALUES:
        raise InputError(f"--compare: results of {kind} are not compared; give two of {', '.join(VALUES)}")
    ours, theirs = VALUES[kind](first), VALUES[kind](second)
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
        single = max(len(a), len(b)) == 1
        shown = f"{ratio.median:.3f}" if single else ratio_text(vars(ratio))
        verdict = "one value each: noise unknown" if single and ratio.median != 1 else ratio.verdict(spreads[-1])
        grid.rows.append([model, case, _middle(a), _middle(b), shown, verdict])
    notes = [f"widened by up to {100 * max(spreads):.1f} %, the same model twice"] if any(spreads) else []
    notes += [f"{name} differ" for name in SAME if first.get(name) != second.get(name)]
    notes += [f"{which}{note}" for which, each in (("first", first), ("second", second)) if (note := busy_note(each))]
    missing = len(set(ours) ^ set(theirs))
    notes += [f"{missing} measurements are in one file only"] if missing else []
    grid.note = "; ".join(notes)
    return grid


def _middle(rounds: Rounds) -> str:
    return f"{median(median(one) for one in rounds):.4g}"


def _latency(content: Content) -> Values:
    """Seconds, and times over the reference's of the same round, which a machine that was slower does not change."""
    found: Values = {}
    cases = {(row["model"], _case(row)): row["seconds"] for row in content["rows"] if "seconds" in row}
    noises = noise(content)
    for row in content["rows"]:
        if "seconds" not in row or row["control"]:
            continue
        name, rounds, twice = _case(row), row["seconds"], noises.get(case_of(row), 0.0)
        found[row["model"], f"{name}, s"] = rounds, twice
        if row["model"] != row["reference"]:
            pairs = zip(rounds, cases[row["reference"], name])
            found[row["model"], f"{name}, over its reference"] = [[median(a) / median(b)] for a, b in pairs], twice
    return found


def _case(row: Mapping[str, Any]) -> str:
    return f"{row['engine']} {row['dtype']}, {case_text(row)}"


def _memory(content: Content) -> Values:
    stages, given = ("inference", "training"), content["arguments"]
    where = f"batch {given['batch']}, length {given['length']}, {given['dtype']}, MiB"
    peaks = {(row["model"], f"{stage}, {where}"): row[stage].get("peak") for row in content["rows"] for stage in stages}
    return {key: ([[peak / 2**20]], 0.0) for key, peak in peaks.items() if peak}


def _energy(content: Content) -> Values:
    per_sentence: Values = {}
    noises, dtype = noise(content), content["arguments"]["dtype"]
    for row in content["rows"]:
        if row.get("net") and not row["control"]:
            joules = [sum(w["joules"].values()) - row["idle_watts"] * w["seconds"] for w in row["windows"]]
            each = [[total / (w["calls"] * row["batch"])] for total, w in zip(joules, row["windows"])]
            case = f"{dtype}, {case_text(row)}, J a sentence, net"
            per_sentence[row["model"], case] = each, noises.get(case_of(row), 0.0)
    return per_sentence


def _throughput(content: Content) -> Values:
    """Seconds a step."""
    timed = [row for row in content["rows"] if "seconds" in row]
    return {(row["way"], f"{row['table']}, s"): ([[one] for one in row["seconds"]], 0.0) for row in timed}


VALUES: dict[str, Callable[[Content], Values]] = {
    "latency": _latency,
    "memory": _memory,
    "energy": _energy,
    "throughput": _throughput,
}
