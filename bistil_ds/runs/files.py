"""Write a file whole or not at all; read a JSON file; one-line errors say why either is not possible."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.runs.bounded import load_json


@contextmanager
def writing(what: str, advice: str) -> Iterator[None]:
    """Run a block that writes files.

    Args:
        what: the file or folder; the start of the message.
        advice: what the user can do; the end of the message.

    Raises:
        InputError: the block raised an error of the file system: no right to write, a full disk, a file in the way.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{what} cannot be written ({reason}); {advice}") from None


def nearest_existing(path: Path) -> Path:
    """Return the path, absolute, or the nearest folder above it that exists."""
    path = path.expanduser().absolute()
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def part_of(path: Path) -> Path:
    """Return the path, beside `path`, of the file that holds the content until it is whole."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def replace_when_written(path: Path) -> Iterator[Path]:
    """Yield a path to write the file to; when the block ends well, move the file to `path` in one step.

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


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8; it replaces an earlier file in one step.

    A lone surrogate stands for a byte of a path that is not UTF-8; it is written as an escape sequence, as in JSON.
    """
    with replace_when_written(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(
    path: Path, advice: str, *, keys: Sequence[str] = (), flag: str = "", finite: bool = True
) -> dict[str, Any]:
    """Return the JSON object in a file, read within the bounds of `bistil_ds.runs.bounded`.

    Args:
        advice: what the user can do about a file that cannot be used; the end of the message.
        keys: names that the object must have.
        flag: the flag that named the file; the start of the message.
        finite: whether to refuse NaN, Infinity, and numbers such as 1e400 that are infinite as floats.

    Raises:
        InputError: the file is missing, cannot be read, is too large, is not JSON or nested too deeply, holds something
            else than an object, or lacks one of the keys.
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
