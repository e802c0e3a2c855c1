"""Rows of models measured side by side: what makes two of them one case, and how cells and notes read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUSY = 0.5  # load a processor from which other programs disturb
SAME = ("engine", "dtype", "batch", "length", "threads")


def case_text(row: Mapping[str, Any]) -> str:
    """`batch 8, length 128, 2 threads`."""
    length = f"length {row['length']}" if row["length"] else "text"
    return f"batch {row['batch']}, {length}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def busy_note(content: Mapping[str, Any]) -> str:
    """A warning where other programs kept the processors busy before the run; else nothing."""
    before = content.get("machine_before")  # old records lack it
    if not before:
        return ""
    load, cores = before["load_average"][0], content["hardware"]["threads"]
    if load < BUSY * cores:
        return ""
    return f"; the machine was busy (load {load:.1f} on {cores} processors): measure again on a quiet one"


def milliseconds(seconds: float) -> str:
    """Three digits."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def ratio_text(ratio: Mapping[str, float]) -> str:
    """`0.51 (0.50 to 0.52)`."""
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def case_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What rows that may be compared have in common."""
    return tuple(row.get(name) for name in SAME)


def noise(content: Mapping[str, Any]) -> dict[tuple[Any, ...], float]:
    """For each case, how far from 1 the same model twice came out."""
    controls = [row for row in content["rows"] if row.get("control") and "ratio" in row]
    return {case_of(row): abs(row["ratio"]["median"] - 1) for row in controls}
