"""Check at the end of a run that its product exists and loads, and let others read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import forget_partitioning
from bistil_ds.errors import ProductError
from bistil_ds.runs.files import give_usual_rights, remove_half_written


def check_product(folder: Path, load: Callable[[Path], Any]) -> None:
    """Load a run's product on rank 0, tidy it and let others read it; every rank calls this, after all have written.

    Args:
        folder: the folder of the product.
        load: loads it from the folder, or raises.

    Raises:
        ProductError: on every rank, if the product is missing or does not load.
    """
    forget_partitioning()
    failure = ""
    if startup.rank() == 0:
        try:
            load(folder)
            remove_half_written(folder)
            give_usual_rights(folder)
        except Exception as error:  # missing or damaged files lead to errors of many types
            failure = f"{folder}: training is over, but its result does not load: {error or type(error).__name__}"
    if failure := startup.from_rank_0(failure):
        raise ProductError(failure)
