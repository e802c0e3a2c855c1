"""Run the parts one after the other within the time, and keep what they find in rows, one for each part."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from bistil_ds.benchmarking.gpu.child import Event
from bistil_ds.benchmarking.gpu.parts import Part, allot
from bistil_ds.benchmarking.harness.benchmark import Tell

Row = dict[str, Any]


def run_parts(
    parts: Sequence[Part],
    seconds: float,
    launch: Callable[[Part, float], Generator[list[Event]]],
    rows: list[Row],
    save: Callable[[], None],
    tell: Tell,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run all parts in `seconds`, append a row for each to `rows`, and call `save` whenever something is known.

    Args:
        launch: starts a part with the seconds that it may take, and yields lists of its events (see `child.launch`).
        tell: called with the share of the time that is gone (0 to 1), and the part that runs.
        clock: returns the time in seconds.
    """
    begun = clock()
    for place, part in enumerate(parts):
        left = begun + seconds - clock()
        row = new_row(part)
        rows.append(row)
        budget = allot(parts[place:], left)
        if budget is None:
            row |= {"status": "skipped", "why": f"{max(left, 0):.0f} s were left, and it needs {part.needs:g}"}
            save()
            continue
        row |= {"status": "stopped", "why": "interrupted", "budget": budget}  # until its end is known
        save()
        started = clock()
        try:
            with closing(launch(part, budget)) as events:
                for some in events:
                    for event in some:
                        add(row, event)
                    row["seconds"] = clock() - started
                    save()
                    tell(min(1.0, (clock() - begun) / seconds), part.title)
        finally:
            row["seconds"] = clock() - started
            save()


def new_row(part: Part) -> Row:
    """Return the row of a part that has not begun."""
    row: Row = {"part": part.key, "title": part.title, "status": "", "why": "", "budget": None, "seconds": None}
    return {**row, "findings": [], "records": [], "error": []}


def add(row: Row, event: Event) -> None:
    """Add an event to the row of its part."""
    if "finding" in event:
        row["findings"].append(event["finding"])
    elif "record" in event:
        row["records"].append(event["record"])
    else:
        row |= event["ended"]
