"""Find the key that signs a user's seals, in a file that the user names or in one that is made at first use."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import warnings
from pathlib import Path

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError, Notice

VARIABLE = "BISTIL_SEAL_KEY"
SHORTEST, LONGEST = 16, 4096  # bytes in a key file


def user_key(file: str | None = None) -> bytes | None:
    """Return the key in `file`, or else in the file that `$BISTIL_SEAL_KEY` names, or else the user's own key.

    The user's own key lies in `bistil_ds/seal.key` below `$XDG_CONFIG_HOME` or `~/.config`. It is made at first use,
    and only the user can read it. If two processes make it at the same time, both get the key of the first.

    Returns:
        The key's bytes, without outer white space. If the user's own key can be kept nowhere, None, after a Notice.

    Raises:
        InputError: a named file cannot be read, or is too short or too long for a key.
    """
    if file:
        return _read(user_path(file), "--seal_key")
    if named := os.environ.get(VARIABLE):
        return _read(user_path(named), VARIABLE)
    try:
        path = config_folder() / "seal.key"
        if not path.exists():
            _make(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        warnings.warn(
            f"no key can be kept in your configuration folder ({error}), so checkpoints are not signed and resuming "
            "from them needs --trust_checkpoint; or name a key with --seal_key",
            Notice,
            stacklevel=2,
        )
        return None
    return _read(path, "your key")


def config_folder() -> Path:
    """Return the path of our folder in the user's configuration folder; the folder need not exist.

    Raises:
        RuntimeError: the user has no home folder.
    """
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "bistil_ds"


def _read(path: Path, what: str) -> bytes:
    try:
        about = path.stat()
        key = path.read_bytes().strip() if stat.S_ISREG(about.st_mode) and about.st_size <= LONGEST else b""
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be read ({error.strerror}); name a file with a key") from None
    if len(key) < SHORTEST:
        size = f"a file of {SHORTEST} to {LONGEST} random bytes"
        raise InputError(f"{what} {path}: holds no key; expected {size}, as `openssl rand -hex 32` writes")
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.warn(f"{what} {path}: others may use it; take their rights with chmod 600", Notice, stacklevel=3)
    return key


def _claim(part: Path, path: Path) -> None:
    """Give the complete file `part` the name `path`; raise FileExistsError if there is a file of that name."""
    try:
        os.link(part, path)  # unlike a rename, a link never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(part.read_bytes())


def _make(path: Path) -> None:
    """Make a key file that only the user can read, unless another process makes it first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".seal-")  # only the user can read it
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(handle)
        _claim(Path(part), path)
    except FileExistsError:
        pass
    finally:
        os.unlink(part)
