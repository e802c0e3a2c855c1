"""`--dry_run`: prepare the run in a temporary folder, train a few steps, and print the run's time and space."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bistil_ds.console.terminal import show
from bistil_ds.distributed import startup
from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.errors import InputError
from bistil_ds.runs.files import nearest_existing
from bistil_ds.runs.folder import run_folder
from bistil_ds.training.estimate.table import Rehearsal, table
from bistil_ds.training.preemption import on_signals

Prepared = TypeVar("Prepared")
PREFIX = "bistil-dry-run-"


def dry_run(
    prepare: Callable[[Mapping[str, Any]], Prepared],
    rehearse: Callable[[Prepared], Rehearsal | None],
    flags: Mapping[str, Any],
) -> None:
    """Prepare a run in a temporary folder, train its first steps, print the whole run's cost and remove the folder.

    Args:
        prepare: takes the flags and returns a run, prepared in the folder `output_dir`; called on rank 0.
        rehearse: trains the first steps of a prepared run and returns its findings (None on ranks other than 0); called
            on every rank.
        flags: the command's flags.

    Raises:
        InputError: from `prepare`, or because no run can be started in `output_dir`.
    """
    with ExitStack() as until_the_end:

        def prepare_elsewhere() -> tuple[Prepared, float]:
            place = check_place(flags)
            scratch = until_the_end.enter_context(temporary_folder(place))
            started = time.perf_counter()
            run = prepare({**flags, "output_dir": str(scratch / "run"), "resume_from_checkpoint": None})
            return run, time.perf_counter() - started

        def show(prepared: tuple[Prepared, float]) -> None:
            run, seconds = prepared
            rehearsal = rehearse(run)
            startup.wait_for_every_rank()  # after this no rank reads the folder, so rank 0 may remove it
            if rehearsal is not None:
                print_table(rehearsal, seconds, Path(flags["output_dir"] or "runs"))

        deepspeed, limit = bool(flags["deepspeed"]), flags["rank_timeout"]
        run_on_ranks(prepare_elsewhere, show, use_deepspeed=deepspeed, rank_timeout=limit)


def check_place(flags: Mapping[str, Any]) -> Path:
    """Return the run's folder if it exists, otherwise the nearest folder above it that exists.

    Raises:
        InputError: the run's folder cannot be made or used, or a run was started there already.
    """
    folder = run_folder(flags["output_dir"], "", flags["resume_from_checkpoint"])
    if (folder / "run.json").is_file():
        raise InputError(f"--dry_run: a run was begun in {folder}, and its run.json says what it takes; leave it out")
    return nearest_existing(folder)


def print_table(rehearsal: Rehearsal, preparation: float, folder: Path) -> None:
    """Print the table of a dry run: findings, seconds of preparation, and the free bytes on the disk of `folder`."""
    free = shutil.disk_usage(nearest_existing(folder)).free
    show(table(rehearsal, preparation=preparation, free=free))


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """Yield a temporary folder, and remove it at the end or when SIGTERM or SIGUSR1 arrives.

    The folder lies in the system's folder for temporary files. If the run has ranks on several machines, it lies in
    `place`, which the machines share.
    """
    several = startup.local_world_size() < startup.world_size()
    with (
        on_signals(_exit),
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=place if several else None) as folder,
    ):
        yield Path(folder)


def _exit(number: int) -> NoReturn:
    raise SystemExit(128 + number)
