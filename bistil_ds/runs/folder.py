"""The folder of a run: which one, and that a command which fails before training leaves none behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bistil_ds.errors import InputError

UNFINISHED = ".build-"  # how the name of a preparation that has not come to its end begins


def run_folder(output_dir: str | None, script: str, resume: str | None, *, resumable: bool = True) -> Path:
    """Where a run goes; an explicit folder that holds something is refused unless its run is being resumed.

    Args:
        resumable: False: the script has no --resume_from_checkpoint to suggest.
    """
    if output_dir is None:
        if resume:
            raise InputError("--resume_from_checkpoint needs --output_dir, the folder of the run to resume")
        return Path("runs") / f"{script}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = Path(output_dir).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output_dir {folder}: is a file; give a folder")
    is_run = (folder / "run.json").is_file()
    if resume and not is_run:
        raise InputError(f"--output_dir {folder}: holds no run to resume (no run.json)")
    if not resume and folder.is_dir() and any(not path.name.startswith(UNFINISHED) for path in folder.iterdir()):
        hint = "add --resume_from_checkpoint true or " if is_run and resumable else ""
        raise InputError(f"--output_dir {folder}: is not empty; {hint}choose another folder")
    return folder


@contextmanager
def new_folder(folder: Path, *, explicit: bool) -> Iterator[Path]:
    """Make `folder` and its parents; when the block fails, what was made goes again.

    Args:
        explicit: the user named it: it may exist, and what a killed preparation left there is removed. Otherwise it is
            this run's alone: where another run was quicker it becomes `<folder>-2`, `-3` ...

    Raises:
        InputError: it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder = _claimed(folder) if not explicit else folder
        folder.mkdir(exist_ok=True)
    except OSError as error:
        _remove(made)
        raise InputError(f"--output_dir {folder}: cannot be made ({error.strerror}); choose another folder") from None
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield folder
    except BaseException:
        _remove([folder, *made[1:]] if made or not explicit else [])
        raise


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill beside `folder` (new), whose place it takes when the block ends well."""
    partial = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        yield partial
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _claimed(folder: Path) -> Path:
    """The first of `folder`, `folder-2`, `folder-3` ... that nobody else had made, made."""
    attempt, number = folder, 1
    while True:
        try:
            attempt.mkdir()
            return attempt
        except FileExistsError:
            number += 1
            attempt = folder.with_name(f"{folder.name}-{number}")


def _remove(folders: list[Path]) -> None:
    """Innermost first; one that another run uses by now stays."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:
            return
