"""What a part of the GPU run is told, and how it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Finding = Mapping[str, Any]  # JSON values


class Skip(Exception):
    """Raised by a part that cannot run here; the message says why in a few words."""


class OutOfTime(Exception):
    """Raised between two measurements when a part's time is out; what it has found so far is kept."""


@dataclass(frozen=True)
class Setting:
    """What a part is told.

    Attributes:
        rehearsal: whether to run at toy size on the CPU; no figure counts then.
        stop: when the part should end by itself, by `time.monotonic()`, which all processes of a machine share.
        results: the folder for records of other benchmarks.
        work: a folder for all else; it is deleted after the part.
    """

    rehearsal: bool
    stop: float
    results: Path
    work: Path

    @property
    def device(self) -> torch.device:
        """Return the device to measure."""
        return torch.device("cpu" if self.rehearsal else "cuda")

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.stop - time.monotonic()

    def check_time(self, *progress: object) -> None:
        """Raise OutOfTime if no time is left. Benchmarks call it as their `Tell`, whose arguments do not matter here.

        Raises:
            OutOfTime: no time is left.
        """
        if self.left() <= 0:
            raise OutOfTime


@dataclass(frozen=True)
class Emit:
    """What a part calls as soon as it knows something, so that nothing is lost if it then crashes or hangs.

    Attributes:
        finding: called with a result.
        record: called with the name of the file, in `Setting.results`, to which a benchmark writes its record.
    """

    finding: Callable[[Finding], None]
    record: Callable[[str], None]
