"""Read the rows of a record of models: tell which rows are of one case, and make texts for tables from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUSY = 0.5  # at or above this load average per processor, other programs disturb measurements
SAME = ("engine", "dtype", "batch", "length", "threads")  # equal in all rows of one case


def case_text(row: Mapping[str, Any]) -> str:
    """Return a case in words, such as `batch 8, length 128, 2 threads`."""
    length = f"length {row['length']}" if row["length"] else "text"
    return f"batch {row['batch']}, {length}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def busy_note(content: Mapping[str, Any]) -> str:
    """Return a warning if other programs kept the processors busy before the run, else an empty string."""
    before = content.get("machine_before")  # old records lack it
    if not before:
        return ""
    load, cores = before["load_average"][0], content["hardware"]["threads"]
    if load < BUSY * cores:
        return ""
    return f"; the machine was busy (load {load:.1f} on {cores} processors): measure again on a quiet one"


def milliseconds(seconds: float) -> str:
    """Return milliseconds as text: three significant digits, or whole milliseconds from 100 on."""
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def ratio_text(ratio: Mapping[str, Any]) -> str:
    """Return a ratio as text, such as `0.510 (0.500 to 0.520)`, or `0.510, no interval`."""
    if ratio["low"] is None:
        return f"{ratio['median']:.3f}, no interval"
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def case_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a row's case: its engine, dtype, input and threads. Only rows of one case may be compared."""
    return tuple(row.get(name) for name in SAME)


def is_side_by_side(row: Mapping[str, Any]) -> bool:
    """Return whether all engines of the record took turns in the same rounds, so that their times can be compared."""
    return "ratio_to_first" in row


def engine_text(row: Mapping[str, Any]) -> str:
    """Return a row's engine, with the dtype of its weights if that is not float32."""
    return row["engine"] if row["dtype"] == "float32" else f"{row['engine']} {row['dtype']}"


def noise(content: Mapping[str, Any]) -> dict[tuple[Any, ...], float]:
    """Return, for each case, how far the control's ratio (one model that ran twice) is from 1."""
    controls = [row for row in content["rows"] if row.get("control") and "ratio" in row]
    return {case_of(row): abs(row["ratio"]["median"] - 1) for row in controls}
