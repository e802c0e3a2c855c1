"""The flags that all training commands share."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CommonFlags:
    """Flags of the command itself; no run records them."""

    dry_run: bool = field(
        default=False,
        metadata={"help": "Build in a temporary folder, time a few steps, estimate the run; keep nothing."},
    )
