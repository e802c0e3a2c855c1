"""Compare the folder of a run that was killed with that of the same run which nothing stopped."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, ScalarEvent

# values that are measured, so that two runs never agree on them, and when and how a run was started
MEASURED = re.compile(
    r"runtime|per_second|mfu|memory|joules|kwh|^(command|started|finished|git|versions|hardware|machine)$"
)
OF_JSON = ("run.json", "trainer_state.json")
SEAL = "complete.json"  # holds the hashes of the others
LOGS = "runs"  # TensorBoard's


def differences(ours: Path, whole: Path) -> list[str]:
    """Return one line for each difference between two run folders, but for what is measured."""
    found, theirs = _files(ours), _files(whole)
    lines = [f"only after kills: {name}" for name in sorted(found.keys() - theirs.keys())]
    lines += [f"missing after kills: {name}" for name in sorted(theirs.keys() - found.keys())]
    for name in sorted(found.keys() & theirs.keys()):
        path, other = found[name], theirs[name]
        if path.name in OF_JSON:
            lines += [f"{name}: {line}" for line in _unequal(_read(path, ours), _read(other, whole))]
        elif path.name != SEAL and path.read_bytes() != other.read_bytes():
            lines.append(f"{name}: other bytes")
    return lines + _unequal_logs(ours, whole)


def cache_differences(ours: Path, whole: Path) -> list[str]:
    """Return one line for each file of a cache that differs."""
    found, theirs = ({str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()} for root in (ours, whole))
    lines = [f"cache: {name} is in one only" for name in sorted(found.keys() ^ theirs.keys())]
    both = found.keys() & theirs.keys()
    return lines + [
        f"cache: {name}: other bytes" for name in both if found[name].read_bytes() != theirs[name].read_bytes()
    ]


def _files(root: Path) -> dict[str, Path]:
    """Return name → path of every file, folders that are empty too, without the logs."""
    paths = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file() or not any(path.iterdir())}
    return {name: path for name, path in paths.items() if LOGS not in Path(name).parts}


def _read(path: Path, run: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8").replace(str(run), "RUN"))


def _unequal(ours: Any, whole: Any, where: str = "") -> list[str]:
    """Return a line for each place at which two JSON values differ."""
    if isinstance(ours, Mapping) and isinstance(whole, Mapping):
        lines = [f"{where}/{key} is in one only" for key in sorted(ours.keys() ^ whole.keys())]
        for key in ours.keys() & whole.keys():
            lines += [] if MEASURED.search(key) else _unequal(ours[key], whole[key], f"{where}/{key}")
        return lines
    if isinstance(ours, list) and isinstance(whole, list):
        if len(ours) != len(whole):
            return [f"{where}: {len(ours)} entries for {len(whole)}: {_steps(ours)} for {_steps(whole)}"]
        return [
            line for n, pair in enumerate(zip(ours, whole, strict=True)) for line in _unequal(*pair, f"{where}/{n}")
        ]
    return [] if ours == whole else [f"{where}: {str(ours)[:80]} for {str(whole)[:80]}"]


def _steps(rows: list[Any]) -> list[Any]:
    return [(row.get("step"), next(iter(row), None)) if isinstance(row, Mapping) else row for row in rows]


def events(run: Path) -> dict[str, list[ScalarEvent]]:
    """Return what TensorBoard shows: for each stage and tag, its events in order. Each start may not be apart."""
    found: dict[str, list[ScalarEvent]] = {}
    for logs in sorted(run.rglob(LOGS)):
        for number, folder in enumerate(sorted(logs.iterdir())):
            read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
            read.Reload()
            for tag in read.Tags()["scalars"]:
                found[f"{logs.relative_to(run)}-{number}/{tag}"] = read.Scalars(tag)
    return found


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the steps and values of `events`."""
    return {name: [(event.step, event.value) for event in rows] for name, rows in events(run).items()}


def _unequal_logs(ours: Path, whole: Path) -> list[str]:
    found, theirs = scalars(ours), scalars(whole)
    lines = [f"TensorBoard: {tag} is in one only" for tag in sorted(found.keys() ^ theirs.keys())]
    for tag in sorted(found.keys() & theirs.keys()):
        steps, other = ([step for step, _ in rows[tag]] for rows in (found, theirs))
        if steps != other:
            twice = [step for step, count in Counter(steps).items() if count > 1]
            gaps = sorted(set(other) - set(steps))
            lines.append(f"TensorBoard: {tag}: steps {steps} for {other} (twice {twice}, gaps {gaps})")
        elif not MEASURED.search(tag) and found[tag] != theirs[tag]:
            lines.append(f"TensorBoard: {tag}: other values: {found[tag]} for {theirs[tag]}"[:300])
    return lines
