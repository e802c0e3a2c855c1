"""Find the checkpoints of a run. A checkpoint that was not written to its end, or that changed since, is never used.

Optimiser states are pickles, and opening a pickle can run code. So a run opens a checkpoint only if every file matches
the seal, and only if the user's key signed the seal or the user gave --trust_checkpoint (`bistil_ds.runs.seals`).
"""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError, Notice, blaming
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.files import read_json
from bistil_ds.runs.findings import hash_once
from bistil_ds.runs.seals import SEAL, Hash, Seals, damage, read_seal

NEWEST = ("true", "last")  # words for the newest whole checkpoint
LATEST, LATEST_UNIVERSAL = "latest", "latest_universal"  # DeepSpeed reads the subfolder that such a file names
STATE = "trainer_state.json"  # the Trainer's step, log and best checkpoint so far


class Checked(str):
    """The path of a checkpoint that `find_checkpoint` has returned; what takes it does not check it again."""

    __slots__ = ()


def seal(folder: Path, world_size: int, seals: Seals, best: str | None = None, **about: Any) -> None:
    """Seal a checkpoint, or the result of a stage, that `world_size` ranks have written.

    Args:
        best: the run's best checkpoint so far, if there is one.
        about: further values to sign; anything that JSON can hold.
    """
    seals.write(folder, world_size=world_size, best=Path(best).name if best else None, **about)


def broken(folder: Path, hash_of: Hash = file_hash) -> str | None:
    """Return a line that says why a checkpoint is not whole, and names the file; None if it is whole.

    Args:
        hash_of: returns the SHA-256 of a file; default: one that reads the file.
    """
    if not (folder / SEAL).exists():
        return f"{folder}: no {SEAL}, so the checkpoint was not written to its end"
    return damage(folder, _unfinished_universal(folder), hash_of) or _wrong_latest(folder)


def _unfinished_universal(folder: Path) -> tuple[str, ...]:
    """Return the names of files and folders that a killed conversion to DeepSpeed's universal form may leave unsealed.

    `damage` ignores them, because the next conversion replaces them. There are none after a finished conversion, which
    has sealed what it wrote.
    """
    universal = universal_of(folder)
    if universal is None or LATEST_UNIVERSAL in _sealed_files(folder):
        return ()
    return of_a_conversion(universal)


def of_a_conversion(universal: str) -> tuple[str, ...]:
    """Return the names of files and folders that a conversion to the universal form of this name may leave."""
    of_0_1 = f"{universal.removesuffix('_universal')}_partial"
    return universal, f"{universal}_partial", of_0_1, LATEST_UNIVERSAL


def _sealed_files(folder: Path) -> dict[str, Any]:
    try:
        files: dict[str, Any] = read_seal(folder)["files"]
    except InputError:
        return {}
    return files


def universal_of(folder: Path) -> str | None:
    """Return the name of the subfolder for DeepSpeed's universal form, which any number of ranks can load.

    None means that the checkpoint is not DeepSpeed's.
    """
    tag = _read_tag(folder / LATEST)
    return f"{tag}_universal" if tag else None


def _read_tag(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _wrong_latest(folder: Path) -> str | None:
    """Return why `latest` or `latest_universal` names a wrong subfolder for DeepSpeed to read; None if both are right.

    The subfolder must hold sealed files, so it lies inside the checkpoint.
    """
    files = read_seal(folder)["files"]
    for name in (LATEST, LATEST_UNIVERSAL):
        tag = _read_tag(folder / name)
        if name in files and not (tag and any(file.startswith(f"{tag}/") for file in files)):
            return f"{folder / name}: names {tag!r}, which is no sealed folder of the checkpoint"
    return None


def steps_of(folder: Path) -> int:
    """Return the optimiser step in a `checkpoint-N` folder's name, -1 for other names."""
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(match[1]) if match else -1


def all_checkpoints(output_dir: Path) -> list[Path]:
    """Return the `checkpoint-N` folders of a run, lowest step first."""
    return sorted((p for p in output_dir.glob("checkpoint-*") if steps_of(p) >= 0 and p.is_dir()), key=steps_of)


def find_checkpoint(output_dir: Path, wanted: str, seals: Seals) -> Path | None:
    """Return the whole checkpoint to resume from; call it on one rank only.

    `wanted` is one of the run's checkpoint folders, or `true` or `last` for the newest whole one. For these two words,
    a Notice names each newer checkpoint that cannot be used. None means that no checkpoint is whole, usually because
    the run was killed before it wrote its first. A checkpoint also needs the best one so far, if there is one.

    Raises:
        InputError: `wanted` is a folder that is not one of this run's checkpoints, or not whole; the checkpoint or its
            best one is not signed by the user's key, and `seals.trust` is not set; or no whole checkpoint has a whole
            best one.
    """
    if wanted.lower() in NEWEST:
        found = _newest_whole(output_dir)
        if found is not None:
            _check_signed(found, seals)
        return found
    with blaming("--resume_from_checkpoint"):
        folder = user_path(wanted)
        check(folder, output_dir, seals)
    return folder


def check(folder: Path, output_dir: Path, seals: Seals) -> None:
    """Raise InputError unless `folder` is a whole checkpoint of the run in `output_dir`, and signed (or trusted)."""
    if steps_of(folder) < 0 or folder.resolve().parent != output_dir.resolve():
        advice = f"give true, or a folder {output_dir}/checkpoint-N"
        raise InputError(f"{folder}: is no checkpoint of the run in {output_dir}; {advice}")
    if reason := _unusable(folder):
        raise InputError(f"{reason}; give true for the newest whole one")
    _check_signed(folder, seals)


def _check_signed(folder: Path, seals: Seals) -> None:
    """Raise InputError unless the user's key signed a checkpoint and its best one, or `seals.trust` is set."""
    seals.check_signed(folder)
    best = best_of(folder)
    if best is not None and best.name != folder.name:
        seals.check_signed(best)


def _newest_whole(output_dir: Path) -> Path | None:
    lacking = None  # why the newest whole checkpoint cannot be used: its best one is not whole
    for folder in reversed(all_checkpoints(output_dir)):
        damaged = broken(folder)
        reason = damaged or _broken_best(folder)
        if reason is None:
            return folder
        lacking = lacking or (None if damaged else reason)
        warnings.warn(f"{folder.name} is left out: {reason}", Notice, stacklevel=3)
    if lacking:  # do not start anew: that would replace whole checkpoints
        raise InputError(f"{lacking}; put it back, or move the checkpoints away to start again")
    return None


def best_of(checkpoint: Path) -> Path | None:
    """Return the run's best checkpoint at the time when `checkpoint` was written; None if there was none.

    It may be `checkpoint` itself. Only the name of the recorded path is used, because the run's folder may have moved
    since.
    """
    about = read_seal(checkpoint)
    if "best" not in about and (checkpoint / STATE).is_file():  # version 0.1 did not seal this name
        state = read_json(checkpoint / STATE, "resume from a whole checkpoint", finite=False)
        about["best"] = state.get("best_model_checkpoint")
    best = about.get("best")
    return checkpoint.parent / Path(str(best)).name if best else None


def planned_steps(checkpoint: Path) -> Any:
    """Return how many steps were planned for the run that wrote a whole checkpoint; None if that is not recorded."""
    if not (checkpoint / STATE).is_file():
        return None
    return read_json(checkpoint / STATE, "resume from a whole checkpoint", finite=False).get("max_steps")


def _broken_best(checkpoint: Path, hash_of: Hash = file_hash) -> str | None:
    """Return why the best checkpoint so far, with which a resumed run may end, cannot be used; None if it can."""
    best = best_of(checkpoint)
    if best is None or best.name == checkpoint.name:
        return None
    reason = broken(best, hash_of) if steps_of(best) >= 0 else "no name of a checkpoint"
    return f"{checkpoint.name} needs {best.name}, the best so far: {reason}" if reason else None


def _unusable(folder: Path, hash_of: Hash = file_hash) -> str | None:
    """Return why no run can go on from a checkpoint: it or its best one is not whole; None if one can."""
    return broken(folder, hash_of) or _broken_best(folder, hash_of)


def prune(newest: Path, keep: int, best: str | None) -> None:
    """Delete the run's oldest checkpoints until `keep` whole ones are left; never `newest` or the best of a kept one.

    `newest` is the one that has just been written, and `best` is its best one. A checkpoint that is damaged, or whose
    best one is, does not count. It goes once `keep` whole ones are newer. Checkpoints of later steps than `newest` do
    not count either: they are left over from before the run was resumed at an earlier step.

    A file that has not changed since this process read it here is not read again.
    """
    needed = {Path(best).name} if best else set()
    older = [folder for folder in reversed(all_checkpoints(newest.parent)) if steps_of(folder) < steps_of(newest)]
    wanted = keep - 1 - sum(_unusable(folder, hash_once) is None for folder in older if folder.name in needed)
    for folder in older:
        is_needed = folder.name in needed
        if wanted <= 0 and not is_needed:
            shutil.rmtree(folder, ignore_errors=True)
        elif _unusable(folder, hash_once) is None:
            wanted -= not is_needed
            needed |= {one.name for one in [best_of(folder)] if one is not None}


def make_room(folder: Path) -> None:
    """Delete what lies at the path of a new checkpoint or result, such as one that a killed run left."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def world_size_of(checkpoint: Path) -> int:
    """Return the number of ranks that wrote a sealed checkpoint.

    Raises:
        InputError: the seal does not record that number.
    """
    ranks: Any = read_seal(checkpoint).get("world_size")
    if not isinstance(ranks, int) or ranks < 1:
        raise InputError(f"{checkpoint / SEAL}: world_size is {ranks!r}; resume from a whole checkpoint")
    return ranks
