"""List the parts of the GPU run, most important first, and divide the time among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HERE = "bistil_ds.benchmarking.gpu"


@dataclass(frozen=True)
class Part:
    """One part of the run, which has a process of its own.

    Attributes:
        key: its letter in `--parts` and on the page.
        title: what it does, in a few words.
        measure: `module:function`; the function is called with a `Setting` and an `Emit` (see `setting`).
        needs: seconds; with less, the part is not begun. These are guesses, as no GPU has run it yet.
        share: its share of the seconds that are left over when every part has what it needs.
    """

    key: str
    title: str
    measure: str
    needs: float
    share: float = 0.0


PARTS = (
    Part("a", "The device, its copy bandwidth and its matrix products", f"{HERE}.rates:measure", 15),
    Part("b", "Each family of kernels against float64, at real sizes", f"{HERE}.checks:measure", 30, 1),
    Part("c", "Phase 1 with kernels and with PyTorch: the same losses", f"{HERE}.losses:measure", 50, 1),
    Part("d", "The table of kernels", f"{HERE}.records:kernels", 45, 4),
    Part("e", "A phase-1 step of XLM-R-base, k = 2", f"{HERE}.steps:measure", 30, 2),
    Part("f", "Latency, memory and energy of XLM-R-base, k = 2 and k = 3", f"{HERE}.records:models", 40, 2),
    Part("g", "The tests that need a GPU", f"{HERE}.gpu_tests:measure", 15, 3),
)


def allot(parts: Sequence[Part], seconds: float) -> float | None:
    """Return the seconds of the first of `parts`, which are the ones still to come; None if it must be skipped.

    It must be if fewer seconds are left than it needs. Otherwise it gets what it needs, and its share of the seconds
    that the needs of all these parts leave over.
    """
    part = parts[0]
    if seconds < part.needs:
        return None
    spare = max(0.0, seconds - sum(each.needs for each in parts))
    shares = sum(each.share for each in parts)
    return part.needs + (spare * part.share / shares if shares else 0.0)
