"""Read a path as a user writes it."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(name: str | Path) -> Path:
    """Return a path with `~` and `~user` replaced; one of a user who does not exist stays as it is.

    `Path.expanduser` raises RuntimeError for such a user.
    """
    return Path(os.path.expanduser(name))
