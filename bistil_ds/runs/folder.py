"""Choose and make the folder of a run, so that a command that fails before training leaves no new folder behind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bistil_ds.console.untrusted import is_utf8
from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError
from bistil_ds.runs import holding
from bistil_ds.runs.checkpoints import NEWEST
from bistil_ds.runs.files import nearest_existing, part_of
from bistil_ds.runs.record import RECORD_FILE
from bistil_ds.runs.seals import SEAL, Seals

UNFINISHED = ".build-"  # prefix of a folder whose preparation is not finished
BUILD = "build"  # subfolder of a run's folder with the models that every rank loads
STAGE = re.compile(r"stage-\d+-\w+")  # name of a stage's folder in the run's folder


def run_folder(output_dir: str | None, script: str, resume: str | None, *, resumable: bool = True) -> Path:
    """Return the folder of a run: `output_dir` or, if that is None, a new name made of the script's name and the time.

    Args:
        resume: the value of --resume_from_checkpoint. With `true` or `last`, the folder may also be new or empty.
        resumable: whether the script has --resume_from_checkpoint, which an error may then suggest.

    Raises:
        InputError: `resume` is given but the folder holds no run; `resume` is not given but the folder is not empty;
            `output_dir` is missing for `resume`, is a file or is not UTF-8; another run holds the folder; or it cannot
            be made or written.
    """
    if output_dir is None:
        if resume:
            raise InputError("--resume_from_checkpoint needs --output_dir, the folder of the run to resume")
        return _checked(Path("runs") / f"{script}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder = user_path(output_dir)
    if not is_utf8(str(folder)):
        raise InputError(f"--output_dir {folder}: is not UTF-8, and tokenizers cannot be saved there; choose another")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output_dir {folder}: is a file; give a folder")
    holding.check_free(folder)
    is_run, is_empty = is_begun(folder), _is_empty(folder)
    if resume and not is_run and not (is_empty and str(resume).lower() in NEWEST):
        raise InputError(f"--output_dir {folder}: holds no run to resume (no run.json)")
    if not resume and not is_empty:
        hint = "add --resume_from_checkpoint true or " if is_run and resumable else ""
        raise InputError(f"--output_dir {folder}: is not empty; {hint}choose another folder")
    return _checked(folder)


def _is_empty(folder: Path) -> bool:
    """Return whether a run may start in `folder`: it does not exist, or holds only what a killed preparation left."""
    return not folder.is_dir() or set(folder.iterdir()) - {folder / holding.LOCK} == set(leftovers(folder))


def run_of(folder: Path) -> Path:
    """Return the folder of the run to which `folder` belongs: its parent for a stage's folder, otherwise `folder`."""
    return folder.parent if STAGE.fullmatch(folder.name) else folder


def is_begun(folder: Path) -> bool:
    """Return whether a run has begun in `folder`, so that it can be resumed."""
    return (folder / RECORD_FILE).is_file()


def leftovers(folder: Path) -> list[Path]:
    """Return what a killed preparation left in `folder`.

    This is unfinished folders and, if there is no `run.json`, also models and a half-written record.
    """
    found = list(folder.glob(f"{UNFINISHED}*"))
    if is_begun(folder):
        return found
    build, half_record = folder / BUILD, part_of(folder / RECORD_FILE)
    ours = (SEAL, "student/config.json", "base/config.json")  # version 0.1 did not seal `build`
    found += [build] if any((build / name).is_file() for name in ours) else []
    return [*found, half_record] if half_record.is_file() else found


def _discard(left: Path) -> None:
    """Delete a file or folder so that `leftovers` finds the rest if the process is killed meanwhile."""
    grave = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=left.parent))
    os.replace(left, grave / left.name)
    shutil.rmtree(grave)


@contextmanager
def new_folder(folder: Path, *, explicit: bool, stays_held: bool = False) -> Iterator[Path]:
    """Make `folder` and its parents, and hold it while the block runs; if that fails, remove what is new and empty.

    Args:
        explicit: whether the user named the folder. If so, the folder may exist, and what a killed preparation left
            there is removed. If not, a new folder is made: `<folder>-2`, `-3` ... if another run has made `folder`.
        stays_held: hold the folder after the block, too (see `bistil_ds.runs.holding`).

    Raises:
        InputError: the folder cannot be made or written, another run holds it, or has begun in it meanwhile.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder = _claimed(folder) if not explicit else folder
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        _remove([folder, *made[1:]] if made or not explicit else [])
        raise InputError(f"--output_dir {folder}: cannot be written ({error.strerror}); choose another") from None
    try:
        holding.hold(folder)
        if not _is_empty(folder):
            raise InputError(f"--output_dir {folder}: another run has begun in it meanwhile; choose another folder")
        for left in leftovers(folder):
            _discard(left)
        yield folder
    except BaseException:
        holding.let_go(folder)
        _remove([folder, *made[1:]] if made or not explicit else [])
        raise
    if not stays_held:
        holding.let_go(folder)


def remove_refused(folder: Path) -> None:
    """Remove what a preparation wrote to a new run's folder, unless the run has since written checkpoints or stages.

    The user can then correct a refused flag and run the command again with the same folder.
    """
    if any(any(folder.glob(saved)) for saved in ("**/checkpoint-*", "stage-*/*", "*.safetensors")):
        return
    shutil.rmtree(folder / BUILD, ignore_errors=True)
    (folder / RECORD_FILE).unlink(missing_ok=True)
    holding.let_go(folder)
    (folder / holding.LOCK).unlink(missing_ok=True)  # other ranks, which are about to end, may still hold it
    _remove([*folder.glob("stage-*"), folder])


@contextmanager
def whole_or_nothing(folder: Path, seals: Seals) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, which must be new.

    If the block succeeds, the temporary folder is sealed and renamed to `folder`; if it fails, the folder is removed.
    """
    partial = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        yield partial
        seals.write(partial)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _checked(folder: Path) -> Path:
    """Return `folder`, after a check that it can be written or, if it does not exist, made."""
    place = nearest_existing(folder)
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise InputError(f"--output_dir {folder}: cannot be made in {place}; choose another folder")
    return folder


def _claimed(folder: Path) -> Path:
    """Make and return the first of `folder`, `folder-2`, `folder-3` ... that does not exist yet."""
    attempt, number = folder, 1
    while True:
        try:
            attempt.mkdir()
            return attempt
        except FileExistsError:
            number += 1
            attempt = folder.with_name(f"{folder.name}-{number}")


def _remove(folders: list[Path]) -> None:
    """Remove empty folders, innermost first; stop at the first that is not empty: another run may use it by now."""
    for path in folders:
        try:
            path.rmdir()
        except OSError:
            return
