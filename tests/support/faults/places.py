"""Where a kill may be placed: before or after an operation on a file of the run, inside a file, or at any time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Area → the operations that happen there. `inside`: the kernel ends the process in the middle of a write. `open`:
# before a file or folder is made, so between two files. `seal`, `sealed`: before and after the seal gets its name.
# `rename`, `renamed`: the same for other files and folders. `remove`: before a file or folder is removed.
PLACES: dict[str, tuple[str, ...]] = {
    "build": ("open", "inside", "seal", "sealed", "rename", "renamed"),  # models for the ranks, and run.json at first
    "cache": ("inside", "seal", "sealed", "rename", "renamed"),  # the tokenised texts of phase 1
    "save": ("open", "inside", "seal", "sealed"),  # a checkpoint
    "border": ("open", "inside", "seal", "sealed", "remove"),  # a stage's result, and its checkpoints that then go
    "record": ("inside", "rename", "renamed"),  # run.json, when training begins, and at the end of stages and run
    "end": ("open", "inside", "remove"),  # the product of the run; the end of its lock
}
AT_ANY_TIME = "train"  # the area of kills that no operation triggers
SEAL, RECORD, LOCK = "complete.json", "run.json", ".lock"


@dataclass(frozen=True)
class Kill:
    """One kill.

    Args:
        area: a key of `PLACES`, or `AT_ANY_TIME`.
        operation: one of the area's operations; "" for `AT_ANY_TIME`.
        number: which of these operations or, for `AT_ANY_TIME`, which batch, from 1 at the start of the process.
        size: for `inside`, the bytes after which no file grows.
        seconds: for `AT_ANY_TIME`, when, counted from the start of that batch.
        rank: the rank that is killed at this place.
        alone: whether the other ranks are left to find that out by themselves; otherwise all are killed at once.
    """

    area: str
    operation: str = ""
    number: int = 1
    size: int = 0
    seconds: float = 0.0
    rank: int = 0
    alone: bool = False


def area_of(path: str, run: Path, cache: Path) -> str | None:
    """Return the area of a file, from its path; None for a file in none, such as a log."""
    for folder, inside in ((cache, _area_in_cache), (run, _area_in_run)):
        if path.startswith(f"{folder}/"):
            return inside(Path(path).relative_to(folder).parts, run)
    return None


def _area_in_cache(parts: tuple[str, ...], run: Path) -> str | None:
    return "cache" if len(parts) > 1 and not parts[1].endswith(".lock") else None


def _area_in_run(parts: tuple[str, ...], run: Path) -> str | None:
    first, last = parts[0], parts[-1]
    begun = (run / RECORD).exists()
    if first.startswith((".build-", "build")):
        return "build"
    if first.startswith(RECORD):
        return "record" if begun else "build"
    if any(part.startswith("checkpoint-") for part in parts):
        is_over = (run / first / "result" / SEAL).exists()
        return "border" if is_over else "save"
    if first.startswith("stage-"):
        return "border" if len(parts) > 1 and (parts[1] == "result" or last == "trainer_state.json") else None
    if first == "runs":
        return None
    return "end" if begun else "build"
