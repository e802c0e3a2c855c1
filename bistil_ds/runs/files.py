"""Write a file whole or not at all, and read a JSON file; if that fails, an error of one line says why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError
from bistil_ds.runs.bounded import load_json

HALF_WRITTEN = re.compile(r"\.tmp[0-9A-Za-z]{6}")  # a name that safetensors makes up


@contextmanager
def writing(what: str, advice: str) -> Iterator[None]:
    """Run a block that writes files, and turn errors of the file system into InputError.

    Args:
        what: the file or folder; messages start with it.
        advice: what the user can do; messages end with it.

    Raises:
        InputError: the block raised an OSError: no right to write, a full disk, a file in the way.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{what} cannot be written ({reason}); {advice}") from None


def nearest_existing(path: Path) -> Path:
    """Return the absolute path if it exists, otherwise the nearest folder above it that exists."""
    path = user_path(path).absolute()
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def part_of(path: Path) -> Path:
    """Return the path, beside `path`, of the file to which content is written before it is complete."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def replace_when_written(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write the file to; if the block succeeds, move the file to `path` in one step.

    So a reader finds the earlier file or the new one, never a part of one. If the block fails, the unfinished file is
    removed. If the process is killed, the unfinished file stays, and the next writer replaces it. Only one process may
    write `path` at a time.
    """
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_half_written(folder: Path) -> None:
    """Remove the hidden files under which safetensors writes before it renames them, if a killed process left some."""
    for path in folder.iterdir():
        if HALF_WRITTEN.fullmatch(path.name) and path.is_file():
            path.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, and replace an earlier file in one step.

    A path that is not UTF-8 has lone surrogates in place of bytes. They are written as escape sequences, as in JSON.
    """
    with replace_when_written(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(
    path: Path, advice: str, *, keys: Sequence[str] = (), flag: str = "", finite: bool = True
) -> dict[str, Any]:
    """Return the JSON object in a file, read within the bounds of `bistil_ds.runs.bounded`.

    Args:
        advice: what the user can do about a file that cannot be used; messages end with it.
        keys: keys that the object must have.
        flag: the flag that named the file; messages start with it.
        finite: whether to refuse NaN, Infinity and too large numbers (see `bistil_ds.runs.bounded.parse_json`).

    Raises:
        InputError: the file is missing, cannot be read, is too large, is not JSON, is nested too deeply, holds another
            value than an object, or lacks one of the keys.
    """
    where = f"{flag} {path}".strip()
    try:
        content = load_json(path, finite=finite)
    except FileNotFoundError:
        raise InputError(f"{where}: no such file; {advice}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read ({error}); {advice}") from None
    except InputError as error:
        raise InputError(f"{flag} {error}; {advice}".strip()) from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error}); {advice}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected a JSON object, found a {type(content).__name__}; {advice}")
    if missing := [key for key in keys if key not in content]:
        raise InputError(f'{where}: has no "{missing[0]}"; {advice}')
    return content


def give_usual_rights(folder: Path) -> None:
    """Let others read the weights in a folder as they may read the files beside them, by the user's umask.

    The library safetensors (from 0.8) makes files that only their owner can read.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    for path in folder.rglob("*.safetensors"):
        if not path.is_symlink():
            with suppress(OSError):  # of another user, or on a file system without modes
                path.chmod(0o666 & ~umask)
