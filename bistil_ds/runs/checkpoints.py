"""Seal checkpoints, so that a checkpoint that was not written to its end is never used.

The seal is written last and lists a hash of every file. A run checks every file's hash before it opens a checkpoint,
because it then unpickles the optimiser's state.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.files import part_of, read_json, write_whole

SEAL = "complete.json"
NEWEST = ("true", "last")  # words for the newest whole checkpoint


def seal(folder: Path, world_size: int) -> None:
    """Write the seal: the world size (number of ranks) and the SHA-256 of every other file in `folder`."""
    ours = (folder / SEAL, part_of(folder / SEAL))  # the second is a half-written seal that a killed process left
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p not in ours)
    files = {str(p.relative_to(folder)): file_hash(p) for p in paths}
    write_whole(folder / SEAL, json.dumps({"world_size": world_size, "files": files}, indent=1))


def broken(folder: Path) -> str | None:
    """Return in words why a checkpoint cannot be used; None if it can, because it is whole."""
    try:
        files = _sealed(folder)["files"]
    except InputError:
        return f"{folder}: no {SEAL}, so the checkpoint was not written to its end"
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: missing from the checkpoint"
        if file_hash(path) != digest:
            return f"{path}: not the bytes this run wrote"
    return None


def _sealed(folder: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's seal; raise InputError if it is missing or damaged."""
    return read_json(folder / SEAL, "resume from a whole checkpoint", keys=("world_size", "files"))


def steps_of(folder: Path) -> int:
    """Return the optimiser step in a `checkpoint-N` folder's name, -1 for other names."""
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(match[1]) if match else -1


def all_checkpoints(output_dir: Path) -> list[Path]:
    """Return the `checkpoint-N` folders of a run, lowest step first."""
    return sorted((p for p in output_dir.glob("checkpoint-*") if steps_of(p) >= 0), key=steps_of)


def find_checkpoint(output_dir: Path, wanted: str) -> Path | None:
    """Return the whole checkpoint to resume from.

    `wanted` is one of the run's checkpoint folders, or `true` or `last` for the newest whole one. With these two words,
    the result is None if the run has no whole checkpoint, usually because it was killed before it wrote one.

    Raises:
        InputError: `wanted` is a folder that is not one of this run's checkpoints, or not whole.
    """
    if wanted.lower() in NEWEST:
        return next((folder for folder in reversed(all_checkpoints(output_dir)) if broken(folder) is None), None)
    folder = Path(wanted).expanduser()
    if steps_of(folder) < 0 or folder.resolve().parent != output_dir.resolve():
        raise InputError(
            f"--resume_from_checkpoint {wanted}: is no checkpoint of the run in {output_dir}; "
            f"give true, or a folder {output_dir}/checkpoint-N"
        )
    if reason := broken(folder):
        raise InputError(f"--resume_from_checkpoint: {reason}; give true for the newest whole one")
    return folder


def prune(output_dir: Path, keep: int, best: str | None) -> None:
    """Delete the oldest checkpoints until `keep` are left, but never the best one or the newest."""
    folders = all_checkpoints(output_dir)
    spare = [p for p in folders[:-1] if best is None or p.resolve() != Path(best).resolve()]
    for folder in spare[: max(0, len(folders) - keep)]:
        shutil.rmtree(folder, ignore_errors=True)


def world_size_of(checkpoint: Path) -> int:
    """Return the number of ranks that wrote a sealed checkpoint."""
    return int(_sealed(checkpoint)["world_size"])


def to_universal(checkpoint: Path) -> None:
    """Add DeepSpeed's universal form to a checkpoint, so that another number of ranks can resume from it."""
    tag = (checkpoint / "latest").read_text().strip()
    universal, partial = checkpoint / f"{tag}_universal", checkpoint / f"{tag}_partial"
    if any(name.startswith(f"{universal.name}/") for name in _sealed(checkpoint)["files"]):
        return
    for left in (universal, partial):  # left by a conversion that was killed
        shutil.rmtree(left, ignore_errors=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--input_folder", str(checkpoint / tag), "--output_folder", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{checkpoint}: could not be converted for another number of ranks: {done.stderr[-300:]}")
    os.replace(partial, universal)
    (checkpoint / "latest_universal").write_text(universal.name)
    seal(checkpoint, world_size_of(checkpoint))


def universal_config(
    deepspeed: str | dict[str, Any] | None, checkpoint: str | None, ranks: int
) -> dict[str, Any] | None:
    """Return the DeepSpeed configuration that loads `checkpoint`'s universal form.

    None means that it is not needed: no DeepSpeed, no checkpoint, or as many ranks as wrote the checkpoint.
    """
    if not deepspeed or not checkpoint or world_size_of(Path(checkpoint)) == ranks:
        return None
    if isinstance(deepspeed, dict):
        config = copy.deepcopy(deepspeed)
    else:
        config = read_json(Path(deepspeed), "give a DeepSpeed file", flag="--deepspeed")
    config.setdefault("checkpoint", {})["load_universal"] = True
    return config
