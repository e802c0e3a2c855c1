"""Take memory of a known size, for the tests of code that measures its own process."""

from __future__ import annotations

from collections.abc import Callable

import torch


def allocate(mib: int, while_building: int = 0, kept: int = 0) -> Callable[[], object]:
    """Take `while_building` MiB for a moment and `kept` MiB for good; return a step that takes `mib` MiB more."""
    torch.ones(while_building << 18)
    keep = torch.ones(kept << 18)
    return lambda: (torch.ones(mib << 18), keep)
